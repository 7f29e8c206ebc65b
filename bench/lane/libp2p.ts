import { type FileHandle, open } from 'node:fs/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import type { PrivateKey, Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { PieceLayout } from '@shoal/core'
import { createLibp2p, type Libp2p } from 'libp2p'
import { type Blob, encodeRequest, IN_FLIGHT, RequestReader, SEND_BYTES, type Transport } from './plan.ts'

const PROTOCOL = '/shoal/bench/1.0.0'
const MIB = 1024 * 1024

/** Windows larger than the defaults, which would wait for the other end more often. */
const MUXER = { streamOptions: { maxStreamWindowSize: 8 * MIB, maxReadBufferLength: 16 * MIB } }

function createHost(privateKey: PrivateKey, listen: string[]): Promise<Libp2p> {
  return createLibp2p({
    privateKey,
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux(MUXER)],
  })
}

/** Serves the file on a libp2p stream; where it listens, as a multiaddr. */
export async function serveLibp2p(privateKey: PrivateKey, file: string): Promise<string> {
  const handle = await open(file, 'r')
  const host = await createHost(privateKey, ['/ip4/127.0.0.1/tcp/0'])
  await host.handle(PROTOCOL, (stream) => serve(stream, handle))
  return host.getMultiaddrs()[0]?.toString() ?? ''
}

function serve(stream: Stream, handle: FileHandle): void {
  const requests = new RequestReader()
  // The stream may still have the chunk before the one it has just taken.
  const chunks = [0, 1, 2, 3].map(() => Buffer.allocUnsafeSlow(SEND_BYTES))
  let sent = 0
  let last: Promise<void> = Promise.resolve()
  const send = async (offset: number, length: number): Promise<void> => {
    for (let done = 0; done < length; ) {
      const chunk = chunks[sent++ % chunks.length] as Buffer
      const { bytesRead } = await handle.read(chunk, 0, Math.min(SEND_BYTES, length - done), offset + done)
      done += bytesRead
      if (!stream.send(chunk.subarray(0, bytesRead))) await stream.onDrain()
    }
  }
  stream.addEventListener('message', ({ data }) => {
    for (const { offset, length } of requests.push(data.subarray())) last = last.then(() => send(offset, length))
    // The receiver closes the stream when it has everything.
    last.catch(() => {})
  })
}

/** The blob over one libp2p stream (TCP, Noise, yamux) to one peer, all in one thread as libp2p has it. */
export class Libp2pTransport implements Transport {
  readonly #host: Libp2p
  readonly #address: string
  readonly #layout: PieceLayout
  #stream: Stream | undefined
  readonly #awaited: { left: number; done: () => void }[] = []

  private constructor(host: Libp2p, address: string, layout: PieceLayout) {
    this.#host = host
    this.#address = address
    this.#layout = layout
  }

  static async create(privateKey: PrivateKey, address: string, blob: Blob): Promise<Libp2pTransport> {
    return new Libp2pTransport(await createHost(privateKey, []), address, new PieceLayout(blob.sizeBytes))
  }

  async connect(): Promise<void> {
    const stream = await this.#host.dialProtocol(multiaddr(this.#address), PROTOCOL)
    stream.addEventListener('message', ({ data }) => this.#take(data.byteLength))
    this.#stream = stream
    await this.#fetch(0)
  }

  async fetchAll(): Promise<void> {
    let next = 0
    const loop = async (): Promise<void> => {
      while (next < this.#layout.count) await this.#fetch(next++)
    }
    await Promise.all(Array.from({ length: IN_FLIGHT }, loop))
  }

  async disconnect(): Promise<void> {
    this.#stream?.abort(new Error('done'))
    await this.#host.hangUp(multiaddr(this.#address))
  }

  #fetch(piece: number): Promise<void> {
    return new Promise((done) => {
      this.#awaited.push({ left: this.#layout.length(piece), done })
      this.#stream?.send(encodeRequest(this.#layout, piece))
    })
  }

  #take(bytes: number): void {
    let taken = 0
    while (taken < bytes) {
      const first = this.#awaited[0]
      if (first === undefined) throw new Error('bytes that nobody asked for')
      const part = Math.min(first.left, bytes - taken)
      taken += part
      first.left -= part
      if (first.left > 0) return
      this.#awaited.shift()
      first.done()
    }
  }
}
