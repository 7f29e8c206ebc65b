import { createHash, type Hash } from 'node:crypto'
import { closeSync, openSync, writeSync } from 'node:fs'
import { OWNER_ONLY, systemErrorCode } from '@shoal/core'
import { LaneError } from './errors.ts'

/** Where a parent's lane is, and who must be there. */
export interface LaneParent {
  /** libp2p peer id, text form. */
  readonly peerId: string
  readonly host: string
  readonly port: number
}

/** A piece to fetch, from whom, and the file to write it into. */
export interface PieceRequest {
  /** OCI digest of the blob. */
  readonly digest: string
  readonly piece: number
  /** Where the piece starts, in the blob and in the file, bytes. */
  readonly offset: number
  /** Bytes, 1 to 16 MiB. */
  readonly length: number
  /** The piece's sha256, 32 bytes. */
  readonly sha256: Uint8Array
  /** The piece is written into it as it arrives, before it is verified. */
  readonly file: string
  /** Whether the file is made for the piece, which is all of it; else, and left out, it exists. */
  readonly isNewFile?: boolean
  /** One number that grows by the bytes that come, and wraps around; left out: nobody asks. */
  readonly arrivals?: Int32Array<SharedArrayBuffer>
  readonly parent: LaneParent
}

/**
 * Bytes gathered before they are hashed and written. TLS hands over 16 KiB at a time, at odd offsets; hashing and
 * writing each by itself cost 1.27 CPU seconds per GiB on ext4, gathered so 0.86, and 256 KiB gained no more.
 */
const STAGE_BYTES = 128 * 1024
/** Free stages kept. */
const MAX_FREE_STAGES = 16
/**
 * How long before its end the end of a piece is told, so that the next one is asked for when its link is free: the time
 * that a parent takes to begin, which was seen, and for the way by the scheduler. Milliseconds.
 */
const CONTROL_MS = 15
const MOST_AHEAD_MS = 100
/** A piece that takes less than that is over before telling its end helped anybody, on a link that others fill. */
const WORTH_TELLING_MS = 60

/**
 * One piece on its way in: hashes and writes bytes as they come. Writes are synchronous on purpose: while the disk is
 * slow nothing is read from the socket, and TCP slows the sender. Settles once; after that it touches the file no more.
 */
export class PieceFetch {
  readonly request: PieceRequest
  readonly beganMs = performance.now()
  /** Bytes that came. */
  received = 0
  /** Resolves when the piece is verified and written; rejects with a LaneError. */
  readonly done: Promise<void>
  readonly #settle: { resolve: () => void; reject: (error: LaneError) => void }
  readonly #fd: number
  readonly #hash: Hash = createHash('sha256')
  readonly #freeStages: Buffer[]
  /** Told that the piece has nearly come; undefined: it was, or nobody asks. */
  #ending: (() => void) | undefined
  /** When the first bytes came. */
  #firstMs: number | undefined
  #stage: Buffer | undefined
  #staged = 0
  #written = 0
  #isSettled = false
  #isWrong = false

  /**
   * Opens the file. Throws LaneError `local`.
   * @param freeStages buffers that fetches of one thread hand on to each other
   * @param ending called when the piece has nearly come, once at the most: fast ones just come
   */
  constructor(request: PieceRequest, freeStages: Buffer[], ending?: () => void) {
    this.request = request
    this.#ending = ending
    this.#freeStages = freeStages
    try {
      this.#fd = openSync(request.file, request.isNewFile ? 'w' : 'r+', OWNER_ONLY.file)
    } catch (cause) {
      throw localError('open', request.file, cause)
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.done = promise
    this.#settle = { resolve, reject }
  }

  get isSettled(): boolean {
    return this.#isSettled
  }

  /** Whether all of it came, and it was not what was asked for. */
  get isWrong(): boolean {
    return this.#isWrong
  }

  /** The next bytes; the last ones complete the piece. Those that come after it failed are dropped. */
  accept(bytes: Buffer): void {
    this.received += bytes.length
    if (this.request.arrivals !== undefined) Atomics.add(this.request.arrivals, 0, bytes.length)
    if (this.#isSettled) return
    if (this.#ending !== undefined) this.#tellIfEnding(this.#ending)
    this.#stage ??= this.#freeStages.pop() ?? Buffer.allocUnsafeSlow(STAGE_BYTES)
    try {
      for (let taken = 0; taken < bytes.length; ) {
        const copied = bytes.copy(this.#stage, this.#staged, taken)
        taken += copied
        this.#staged += copied
        if (this.#staged === STAGE_BYTES) this.#flush(this.#stage)
      }
      if (this.received < this.request.length) return
      this.#flush(this.#stage)
    } catch (cause) {
      this.fail(localError('write', this.request.file, cause))
      return
    }
    this.#complete()
  }

  fail(error: LaneError): void {
    if (this.#isSettled) return
    this.#end()
    this.#settle.reject(error)
  }

  #tellIfEnding(ending: () => void): void {
    const nowMs = performance.now()
    this.#firstMs ??= nowMs
    const left = this.request.length - this.received
    if (left > this.received) return
    const elapsedMs = nowMs - this.#firstMs
    const leftMs = (left / this.received) * elapsedMs
    if (leftMs > Math.min(MOST_AHEAD_MS, CONTROL_MS + this.#firstMs - this.beganMs)) return
    this.#ending = undefined
    if (left > 0 && elapsedMs + leftMs >= WORTH_TELLING_MS) ending()
  }

  #complete(): void {
    const { request } = this
    if (!this.#hash.digest().equals(request.sha256)) {
      const from = request.parent.peerId
      this.#isWrong = true
      this.fail(
        new LaneError('corrupt', `piece ${request.piece} of ${request.digest} came from ${from} with wrong bytes`),
      )
      return
    }
    this.#end()
    this.#settle.resolve()
  }

  #flush(stage: Buffer): void {
    this.#hash.update(this.#staged === STAGE_BYTES ? stage : stage.subarray(0, this.#staged))
    for (let done = 0; done < this.#staged; ) {
      done += writeSync(this.#fd, stage, done, this.#staged - done, this.request.offset + this.#written + done)
    }
    this.#written += this.#staged
    this.#staged = 0
  }

  #end(): void {
    this.#isSettled = true
    if (this.#stage !== undefined && this.#freeStages.length < MAX_FREE_STAGES) this.#freeStages.push(this.#stage)
    this.#stage = undefined
    closeSync(this.#fd)
  }
}

/** LaneError `local` for a file that can not be used; `data.systemCode` is the system's code, such as ENOSPC. */
export function localError(verb: 'open' | 'read' | 'write', file: string, cause: unknown): LaneError {
  const systemCode = systemErrorCode(cause) ?? 'unknown error'
  return new LaneError('local', `can not ${verb} ${file} (${systemCode})`, { cause, data: { systemCode } })
}
