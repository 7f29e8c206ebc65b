import type { Duplex } from 'node:stream'
import type { FileReads } from '@shoal/core'
import { clockDifferenceMs } from './clock-difference.ts'
import { LaneError } from './errors.ts'
import { FrameParser, type FrameSink } from './frame-parser.ts'
import {
  encodeFrame,
  type Frame,
  type HelloFrame,
  LANE_VERSION,
  ownHello,
  RESPONSE_BYTES,
  type RejectedFrame,
  type RequestFrame,
  type ResponseStatus,
  writeResponse,
} from './frames.ts'
import type { HeldBlobs, OpenBlob } from './held-blobs.ts'
import type { LaneOutcome, ThreadCounts } from './shared-counts.ts'
import type { UploadSlots } from './upload-slots.ts'
import type { Turn, UploadTurns } from './upload-turns.ts'

/** What the connections of one server share. */
export interface ServerContext {
  readonly blobs: HeldBlobs
  readonly reads: FileReads
  readonly counts: ThreadCounts
  readonly slots: UploadSlots
  readonly turns: UploadTurns
  readonly uploadSlots: number
  readonly idleCloseMs: number
  readonly handshakeTimeoutMs: number
  readonly writeTimeoutMs: number
  readonly readFailed: (digest: string, error: unknown) => void
  /** Told when a peer says that a piece was wrong when it came. Left out: nobody asks. */
  readonly rejected?: (digest: string, piece: number, peerId: string) => void
  /** Told when the clock of a peer is far ahead of ours; negative: behind. Left out: nobody asks. */
  readonly clockDiffers?: (peerId: string, aheadMs: number) => void
  /** Free buffers of CHUNK_BYTES and a response's frame, for reading pieces. */
  readonly chunks: Buffer[]
}

/** Requests a peer may have waiting on a connection; one more breaks the protocol. */
const MAX_QUEUED = 32
/** Read from disk and written to the socket at once: what a send keeps in memory, beside the socket's own copy. */
const CHUNK_BYTES = 512 * 1024
/** Free chunk buffers kept. */
const MAX_FREE_CHUNKS = 16
/** Refusals a peer may leave unread, bytes: it asks and asks and reads nothing. */
const MAX_UNREAD_BYTES = 64 * 1024

const OUTCOMES: Readonly<Record<ResponseStatus, LaneOutcome>> = {
  ok: 'ok',
  busy: 'busy',
  notHeld: 'notHeld',
  mismatch: 'protocol',
  failed: 'local',
}

interface Queued {
  readonly request: RequestFrame
  /**
   * Its upload slot, if it got one: taken when the request comes in, so that a full node says so at once, and free again
   * when the piece's last bytes are handed to the socket. The peer may ask for the next one before we hear that they
   * were taken, and must not be refused for that.
   */
  slot: number | undefined
}

/** One peer's connection to the upload server: checks who it is, then answers its requests in order. */
export class ServerConnection implements FrameSink {
  readonly #socket: Duplex
  readonly #peerOf: () => string
  readonly #context: ServerContext
  readonly #parser = new FrameParser(this)
  readonly #queue: Queued[] = []
  #isServing = false
  /** Pieces that were sent whole, and that the peer has not rejected. */
  #rejectable = 0
  #peerId: string | undefined
  /** Since when the socket has not taken what was written last; undefined: it has. */
  #unwrittenSinceMs: number | undefined
  /** The peer's number among requesters. */
  #requester = 0
  #timer: NodeJS.Timeout
  // The piece being sent.
  #current: Queued | undefined
  #blob: OpenBlob | undefined
  #chunk: Buffer | undefined
  #turn: Turn | undefined
  #position = 0
  #left = 0

  /** @param peerOf the libp2p peer at the other end; throws LaneError `handshake` when that is not proven */
  constructor(socket: Duplex, peerOf: () => string, context: ServerContext) {
    this.#socket = socket
    this.#peerOf = peerOf
    this.#context = context
    this.#timer = setTimeout(this.#expired, context.handshakeTimeoutMs)
    socket.on('error', () => {})
    socket.once('close', () => this.#closed())
  }

  /** Nothing is read from the socket, so nothing served, before it is known who is there. */
  start(): void {
    try {
      this.#peerId = this.#peerOf()
      this.#requester = this.#context.slots.requesterOf(this.#peerId)
    } catch {
      this.destroy()
      return
    }
    this.#socket.on('data', (chunk: Buffer) => {
      try {
        this.#parser.push(chunk)
      } catch {
        this.destroy()
      }
    })
  }

  get peerId(): string | undefined {
    return this.#peerId
  }

  /** Whether the peer has taken nothing for `ms`, though there is something for it. */
  isStuckFor(ms: number): boolean {
    return this.#unwrittenSinceMs !== undefined && performance.now() - this.#unwrittenSinceMs >= ms
  }

  destroy(): void {
    this.#parser.stop()
    this.#socket.destroy()
  }

  frame(frame: Frame): void {
    if (frame.type === 'hello' && !this.#isServing) this.#greet(frame)
    else if (frame.type === 'request' && this.#isServing) this.#enqueue(frame)
    else if (frame.type === 'rejected' && this.#isServing) this.#rejected(frame)
    else throw new LaneError('protocol', `the peer sent a ${frame.type} where none belongs`)
  }

  /** Never called: `frame` refuses responses. */
  payload(): void {}

  #greet(hello: HelloFrame): void {
    this.#isServing = true
    this.#socket.write(encodeFrame(ownHello()))
    const aheadMs = clockDifferenceMs(hello)
    if (aheadMs !== undefined && this.#peerId !== undefined) this.#context.clockDiffers?.(this.#peerId, aheadMs)
    if (hello.lowestVersion > LANE_VERSION) {
      // It reads our version from the hello and knows why we part.
      this.#parser.stop()
      this.#socket.end()
    } else {
      this.#expireIn(this.#context.idleCloseMs)
    }
  }

  /** Said of a piece that was sent on this connection; one that says more rejections than it got pieces breaks off. */
  #rejected({ digest, piece }: RejectedFrame): void {
    if (this.#rejectable === 0) throw new LaneError('protocol', 'the peer rejects pieces that it did not get')
    this.#rejectable--
    if (this.#peerId !== undefined) this.#context.rejected?.(digest, piece, this.#peerId)
  }

  #enqueue(request: RequestFrame): void {
    if (this.#queue.length >= MAX_QUEUED) throw new LaneError('protocol', 'the peer has too many requests waiting')
    const { slots, turns, uploadSlots } = this.#context
    this.#queue.push({ request, slot: slots.take(this.#requester, Math.min(uploadSlots, turns.mostSends)) })
    if (this.#current === undefined) this.#next()
  }

  #next(): void {
    for (;;) {
      this.#current = this.#queue.shift()
      if (this.#current === undefined) {
        this.#expireIn(this.#context.idleCloseMs)
        return
      }
      if (this.#current.slot !== undefined) break
      this.#refuse(this.#current, 'busy')
    }
    this.#expireIn(this.#context.writeTimeoutMs)
    void this.#open(this.#current)
  }

  async #open(queued: Queued): Promise<void> {
    const { request } = queued
    let blob: OpenBlob | undefined
    let status: ResponseStatus
    try {
      blob = await this.#context.blobs.acquire(request.digest)
      status = blob === undefined ? 'notHeld' : checkRequest(request, blob)
    } catch (error) {
      this.#context.readFailed(request.digest, error)
      status = 'failed'
    }
    this.#blob = blob
    this.#position = request.offset
    this.#left = request.length
    if (this.#socket.destroyed) this.#endCurrent('aborted')
    else if (status === 'ok') this.#nextChunk()
    else this.#refuseCurrent(status)
  }

  #nextChunk(): void {
    const { turns } = this.#context
    if (!turns.areNeeded) {
      this.#readChunk(Math.min(CHUNK_BYTES, this.#left))
      return
    }
    // It is we who wait, not the peer.
    clearTimeout(this.#timer)
    const bytes = Math.min(CHUNK_BYTES, turns.sliceBytes, this.#left)
    this.#turn = turns.wait(this.#requester, bytes, (granted) => {
      this.#turn = undefined
      this.#expireIn(this.#context.writeTimeoutMs)
      this.#readChunk(granted)
    })
  }

  #readChunk(bytes: number): void {
    if (this.#blob === undefined) return
    this.#chunk ??= this.#context.chunks.pop() ?? Buffer.allocUnsafeSlow(RESPONSE_BYTES + CHUNK_BYTES)
    let read: number | Promise<number>
    try {
      read = this.#context.reads.read(this.#blob.fd, this.#chunk, RESPONSE_BYTES, bytes, this.#position)
    } catch (error) {
      this.#chunkRead(error, 0)
      return
    }
    if (typeof read === 'number') {
      this.#chunkRead(undefined, read)
    } else {
      read.then(
        (done) => this.#chunkRead(undefined, done),
        (error: unknown) => this.#chunkRead(error, 0),
      )
    }
  }

  #chunkRead(error: unknown, bytes: number): void {
    const current = this.#current
    const chunk = this.#chunk
    if (current === undefined || chunk === undefined) return
    const isFirst = this.#position === current.request.offset
    if (this.#socket.destroyed) {
      this.#endCurrent('aborted')
    } else if (error !== undefined || bytes === 0) {
      this.#context.readFailed(current.request.digest, error ?? new Error('the file is shorter than the blob'))
      this.#readFailed(isFirst)
    } else {
      if (isFirst) writeResponse(chunk, { type: 'response', id: current.request.id, status: 'ok', length: this.#left })
      this.#position += bytes
      this.#left -= bytes
      if (this.#left === 0) this.#freeSlot(current)
      this.#expireIn(this.#context.writeTimeoutMs)
      this.#unwrittenSinceMs = performance.now()
      this.#socket.write(chunk.subarray(isFirst ? 0 : RESPONSE_BYTES, RESPONSE_BYTES + bytes), this.#chunkWritten)
    }
  }

  #readFailed(isFirst: boolean): void {
    if (isFirst) {
      this.#refuseCurrent('failed')
    } else {
      // The response has begun: only the connection's end can say that it will not be completed.
      this.#endCurrent('local')
      this.destroy()
    }
  }

  #chunkWritten = (error?: Error | null): void => {
    this.#unwrittenSinceMs = undefined
    if (error || this.#socket.destroyed) {
      this.#endCurrent('aborted')
    } else if (this.#left > 0) {
      this.#nextChunk()
    } else {
      this.#rejectable++
      this.#endCurrent('ok')
      this.#next()
    }
  }

  #refuseCurrent(status: ResponseStatus): void {
    if (this.#current !== undefined) this.#refuse(this.#current, status)
    this.#release()
    this.#next()
  }

  #refuse(queued: Queued, status: ResponseStatus): void {
    this.#freeSlot(queued)
    this.#context.counts.ended('sent', OUTCOMES[status], 0)
    this.#socket.write(encodeFrame({ type: 'response', id: queued.request.id, status, length: 0 }))
    if (this.#socket.writableLength > MAX_UNREAD_BYTES) this.destroy()
  }

  /** The piece being sent is done with, sent or not; called once, when no read, write or turn is under way. */
  #endCurrent(outcome: LaneOutcome): void {
    const current = this.#current
    if (current === undefined) return
    this.#freeSlot(current)
    this.#context.counts.ended('sent', outcome, current.request.length - this.#left)
    this.#release()
  }

  #freeSlot(queued: Queued): void {
    if (queued.slot !== undefined) this.#context.slots.free(queued.slot)
    queued.slot = undefined
  }

  #release(): void {
    if (this.#chunk !== undefined && this.#context.chunks.length < MAX_FREE_CHUNKS)
      this.#context.chunks.push(this.#chunk)
    if (this.#blob !== undefined) this.#context.blobs.release(this.#blob)
    this.#chunk = undefined
    this.#blob = undefined
    this.#current = undefined
  }

  #expireIn(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(this.#expired, ms)
  }

  #expired = (): void => {
    this.destroy()
  }

  #closed(): void {
    clearTimeout(this.#timer)
    this.#parser.stop()
    if (this.#turn !== undefined) {
      this.#turn.cancel()
      this.#turn = undefined
      this.#endCurrent('aborted')
    }
    for (const queued of this.#queue.splice(0)) {
      this.#freeSlot(queued)
      this.#context.counts.ended('sent', 'aborted', 0)
    }
  }
}

function checkRequest(request: RequestFrame, blob: OpenBlob): ResponseStatus {
  const { layout } = blob
  if (request.piece >= layout.count) return 'mismatch'
  if (request.offset !== layout.offset(request.piece) || request.length !== layout.length(request.piece)) {
    return 'mismatch'
  }
  return blob.have.has(request.piece) ? 'ok' : 'notHeld'
}
