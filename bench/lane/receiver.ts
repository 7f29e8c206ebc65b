/** A thread that gets pieces and drops them: over plain TCP, TLS alone, or over the lane's own client connection. */
import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type SecureContext } from 'node:tls'
import { parentPort } from 'node:worker_threads'
import { PieceLayout } from '@shoal/core'
import { ClientConnection, LaneError, type LaneParent, type PieceRequest } from '@shoal/peer'
import { DroppedPiece, laneContext } from '../kit/lane-client.ts'
import { type Blob, encodeRequest, IN_FLIGHT, READ_BYTES, THREADS, type Uploader } from './plan.ts'

/** What the thread is started with. */
export interface ReceiverSettings {
  readonly blob: Blob
  readonly uploader: Uploader
  readonly identityFile: string
  /** The piece that is next to be asked for, by whichever thread. */
  readonly next: SharedArrayBuffer
}

/** What the thread is told; it answers when it is done. */
export type ReceiverOrder = { readonly do: 'connect'; readonly over: Road } | { readonly do: 'fetchAll' }

/** Over what the pieces come. */
export type Road = 'plain' | 'tls' | 'lane'

interface Receiver {
  fetch(piece: number): Promise<void>
  close(): void
}

class PlainReceiver implements Receiver {
  readonly #layout: PieceLayout
  readonly #socket: Socket
  readonly #awaited: { left: number; done: () => void }[] = []

  /** @param secureContext present: over TLS */
  constructor(layout: PieceLayout, port: number, buffer: Buffer, secureContext?: SecureContext) {
    this.#layout = layout
    const onread = { buffer, callback: (bytes: number) => this.#take(bytes) }
    const address = { host: '127.0.0.1', port, onread }
    this.#socket =
      secureContext === undefined
        ? connect({ ...address, noDelay: true })
        : connectTls({ ...address, secureContext, rejectUnauthorized: false } as ConnectionOptions).setNoDelay(true)
  }

  fetch(piece: number): Promise<void> {
    return new Promise((done) => {
      this.#awaited.push({ left: this.#layout.length(piece), done })
      this.#socket.write(encodeRequest(this.#layout, piece))
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #take(bytes: number): boolean {
    let taken = 0
    while (taken < bytes) {
      const first = this.#awaited[0]
      if (first === undefined) throw new Error('bytes that nobody asked for')
      const part = Math.min(first.left, bytes - taken)
      taken += part
      first.left -= part
      if (first.left > 0) break
      this.#awaited.shift()
      first.done()
    }
    return true
  }
}

class LaneReceiver implements Receiver {
  readonly #connection: ClientConnection
  readonly #request: (piece: number) => PieceRequest

  constructor(connection: ClientConnection, request: (piece: number) => PieceRequest) {
    this.#connection = connection
    this.#request = request
  }

  fetch(piece: number): Promise<void> {
    const fetch = new DroppedPiece(this.#request(piece))
    this.#connection.request(fetch)
    return fetch.dropped
  }

  close(): void {
    this.#connection.destroy(new LaneError('aborted', 'the measure has ended'))
  }
}

async function run({ blob, uploader, identityFile, next }: ReceiverSettings): Promise<void> {
  const layout = new PieceLayout(blob.sizeBytes)
  const counter = new Int32Array(next)
  const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES)
  const { secureContext, context } = await laneContext(identityFile, readBuffer)
  const parent: LaneParent = { peerId: uploader.peerId, host: '127.0.0.1', port: uploader.lanePort }
  const request = (piece: number): PieceRequest => ({
    digest: blob.digest,
    piece,
    offset: layout.offset(piece),
    length: layout.length(piece),
    sha256: blob.sha256[piece] ?? new Uint8Array(0),
    file: '/dev/null',
    parent,
  })
  const open = (over: Road): Receiver => {
    if (over === 'plain') return new PlainReceiver(layout, uploader.plainPort, readBuffer)
    if (over === 'tls') return new PlainReceiver(layout, uploader.tlsPort, readBuffer, secureContext)
    return new LaneReceiver(
      new ClientConnection(parent, context, { ready: () => {}, cutOff: () => {}, closed: () => {} }),
      request,
    )
  }

  let receiver: Receiver | undefined
  const loop = async (): Promise<void> => {
    for (;;) {
      const piece = Atomics.add(counter, 0, 1)
      if (piece >= layout.count) return
      await receiver?.fetch(piece)
    }
  }
  parentPort?.on('message', async (order: ReceiverOrder) => {
    if (order.do === 'connect') {
      receiver = open(order.over)
      await receiver.fetch(0)
    } else {
      await Promise.all(Array.from({ length: IN_FLIGHT / THREADS }, loop))
      receiver?.close()
    }
    parentPort?.postMessage('done')
  })
  parentPort?.postMessage('ready')
}

parentPort?.once('message', run)
