import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import { type Duplex, duplexPair } from 'node:stream'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import type { SharedBucket } from '@shoal/core'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { type Finding, LaneClient } from '../../../src/lane/client.ts'
import type { Links } from '../../../src/lane/client-link.ts'
import type { LaneErrorCode } from '../../../src/lane/errors.ts'
import { FrameParser } from '../../../src/lane/frame-parser.ts'
import { encodeFrame, type Frame, type RequestFrame } from '../../../src/lane/frames.ts'
import { type HeldBlob, HeldBlobs } from '../../../src/lane/held-blobs.ts'
import { LANE_ALPN, type LaneCredentials, laneSecureOptions } from '../../../src/lane/peer-certificate.ts'
import type { LaneParent } from '../../../src/lane/piece-fetch.ts'
import { LaneServer } from '../../../src/lane/server.ts'
import { CountsReader, createCountsMemory, laneCounts } from '../../../src/lane/shared-counts.ts'
import { createSlotsMemory, SlotsReader, UploadSlots } from '../../../src/lane/upload-slots.ts'
import { createSharesMemory, UploadTurns } from '../../../src/lane/upload-turns.ts'
import { NodeLimits } from '../../../src/limits/node-limits.ts'
import { newNode, TestBlob, temporaryFolder } from './world.ts'

const MIB = 1024 * 1024
export const HELLO = encodeFrame({ type: 'hello', lowestVersion: 1, highestVersion: 1, features: 0 })
export const never = new AbortController().signal

type Node = Awaited<ReturnType<typeof newNode>>
export let folder: Awaited<ReturnType<typeof temporaryFolder>>
export let blob: TestBlob
export let parentNode: Node
export let childNode: Node
export let target: string
export const cleanups: (() => Promise<void> | void)[] = []

/** What every test of a file works on, and its removal. */
export function useEnds(): void {
  beforeAll(async () => {
    folder = await temporaryFolder()
    blob = await TestBlob.create(folder.path, 'blob', 6 * MIB + 5)
    parentNode = await newNode(folder.path, 'parent')
    childNode = await newNode(folder.path, 'child')
    target = join(folder.path, 'target')
    await writeFile(target, '')
  })
  afterEach(async () => {
    for (const clean of cleanups.splice(0).reverse()) await clean()
  })
  afterAll(() => folder.remove())
}

interface ServerOptions {
  uploadSlots?: number
  idleCloseMs?: number
  handshakeTimeoutMs?: number
  writeTimeoutMs?: number
  held?: () => HeldBlob | undefined
  limits?: NodeLimits
}

export async function startServer(options: ServerOptions = {}) {
  const memory = createCountsMemory(1)
  const counts = new CountsReader(memory)
  const uploadSlots = options.uploadSlots ?? 8
  const slotsMemory = createSlotsMemory(uploadSlots, 1)
  const threadSlots = new UploadSlots(slotsMemory, 0)
  const limits = options.limits ?? new NodeLimits()
  const failures: string[] = []
  const clocks: [string, number][] = []
  const rejections: [string, number][] = []
  const lookUps: string[] = []
  const blobs = new HeldBlobs(async (digest) => {
    lookUps.push(digest)
    return digest === blob.digest ? (options.held ?? (() => blob.held))() : undefined
  })
  const server = new LaneServer(
    { host: '127.0.0.1', idleCloseMs: 60_000, ...options, uploadSlots },
    {
      credentials: parentNode.credentials,
      blobs,
      counts: laneCounts(memory, 0),
      slots: threadSlots,
      turns: new UploadTurns(limits.own.upload, threadSlots, createSharesMemory()),
      readFailed: (_digest, error) => failures.push(String(error)),
      clockDiffers: (peerId, aheadMs) => clocks.push([peerId, aheadMs]),
      rejected: (digest, piece) => rejections.push([digest, piece]),
    },
  )
  const port = await server.listen(0)
  cleanups.push(() => server.close())
  const serve = (stream: Duplex) => server.serve(stream, childNode.peerId)
  const parent: LaneParent = { peerId: parentNode.peerId, host: '127.0.0.1', port }
  return {
    server,
    serve,
    parent,
    counts,
    slots: new SlotsReader(slotsMemory),
    threadSlots,
    blobs,
    failures,
    lookUps,
    clocks,
    rejections,
  }
}

export function startClient(
  options: {
    stallTimeoutMs?: number
    connectTimeoutMs?: number
    credentials?: LaneCredentials
    limit?: SharedBucket
    streams?: Links
    ownPeerId?: string
    slowestBytesPerSecond?: number
    patienceMs?: number
  } = {},
) {
  const { credentials = childNode.credentials, limit, streams, ownPeerId = childNode.peerId, ...times } = options
  const findings: Finding[] = []
  const reasons: (LaneErrorCode | undefined)[] = []
  const clocks: [string, number][] = []
  const memory = createCountsMemory(1)
  const client = new LaneClient(
    { connectTimeoutMs: 5000, stallTimeoutMs: 5000, idleCloseMs: 60_000, ...times },
    {
      credentials,
      counts: laneCounts(memory, 0),
      ...(limit === undefined ? {} : { limit }),
      ...(streams === undefined ? {} : { streams }),
      ownPeerId,
      found: (_parent, finding, why) => {
        findings.push(finding)
        if (finding === 'unreached') reasons.push(why)
      },
      clockDiffers: (peerId, aheadMs) => clocks.push([peerId, aheadMs]),
    },
  )
  cleanups.push(() => client.close())
  return { client, counts: new CountsReader(memory), findings, reasons, clocks }
}

/** Streams, in memory, to whatever `serve` makes of their other ends. */
export function memoryStreams(serve: (stream: Duplex) => void): Links & { readonly opened: () => number } {
  let count = 0
  return {
    opened: () => count,
    open: ({ peerId }, listener) => {
      const [near, far] = duplexPair()
      near.once('close', () => far.destroy())
      far.once('close', () => near.destroy())
      count++
      serve(far)
      near.on('data', (bytes: Buffer) => {
        if (!listener.read(bytes)) near.pause()
      })
      setImmediate(() => listener.opened(() => peerId))
      return near
    },
    nameOf: ({ peerId }) => `the stream to ${peerId}`,
  }
}

/** Streams that can not be opened. */
export const noStreams: Links = {
  open: () => {
    const [near] = duplexPair()
    setImmediate(() => near.destroy(new Error('no way')))
    return near
  },
  nameOf: () => 'no stream',
}

/** The other end of a stream, written by the test: answers each request with what `answer` does. */
export function answering(answer: (request: RequestFrame, stream: Duplex) => void): (stream: Duplex) => void {
  return (stream) => {
    stream.on('error', () => {})
    const parser = new FrameParser({
      frame: (frame) => {
        if (frame.type === 'hello') stream.write(HELLO)
        else if (frame.type === 'request') answer(frame, stream)
      },
      payload: () => {},
    })
    stream.on('data', (chunk: Buffer) => parser.push(chunk))
  }
}

/** A parent written by the test: answers each request with what `answer` does. */
export async function startParent(
  answer: (request: Frame, socket: TLSSocket) => void,
  hello = HELLO,
  credentials = parentNode.credentials,
): Promise<LaneParent> {
  const sockets = new Set<TLSSocket>()
  const server = createTlsServer({
    ...laneSecureOptions(credentials),
    ALPNProtocols: LANE_ALPN,
    requestCert: true,
    rejectUnauthorized: false,
  })
  server.on('secureConnection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    const parser = new FrameParser({
      frame: (frame) => (frame.type === 'hello' ? socket.write(hello) : answer(frame, socket)),
      payload: () => {},
    })
    socket.on('data', (chunk: Buffer) => parser.push(chunk))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return { peerId: parentNode.peerId, host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

/** A TLS client with the child's certificate that speaks as the test wants. */
export async function dial(parent: LaneParent, credentials = childNode.credentials): Promise<TLSSocket> {
  const socket = connectTls({
    host: parent.host,
    port: parent.port,
    ...laneSecureOptions(credentials),
    ALPNProtocols: LANE_ALPN,
    rejectUnauthorized: false,
  })
  cleanups.push(() => void socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  return socket
}

/** Resolves when the other end has closed; reads what comes until then. */
export async function closed(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  if (!socket.closed) await once(socket, 'close')
  return Buffer.concat(chunks)
}

export async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setImmediate(resolve))
}

export const requestFrame = (piece: number, id = piece): Buffer =>
  encodeFrame({
    type: 'request',
    id,
    digest: blob.digest,
    piece,
    offset: blob.layout.offset(piece),
    length: blob.layout.length(piece),
  })
