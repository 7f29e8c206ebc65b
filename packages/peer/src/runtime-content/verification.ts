import { type DigestAlgorithm, type Logger, parseDigest } from '@shoal/core'
import type { PieceHasher } from '../store/recovery.ts'
import type { ContentFolder, Stamp } from './folder.ts'
import type { RuntimeContentMetrics } from './metrics.ts'

const REPORT_MS = 10_000

/** What verifying asks of the worker threads. */
export type ContentHasher = Pick<PieceHasher, 'hashUnhurried'>

/** What came out for a file. */
export interface Hashed {
  readonly digest: string
  /** Of the file before it was read. */
  readonly stamp: Stamp
  /** Whether the bytes that were read have the digest. */
  readonly isRight: boolean
  readonly pieceMap: Uint8Array
}

/**
 * Files that wait to be hashed: one at a time, in the order in which they came, so that reading what the runtime holds
 * never takes more than a part of one thread and one disk.
 */
export class Verification {
  readonly #folder: ContentFolder
  readonly #hasher: ContentHasher
  readonly #hashed: (hashed: Hashed) => Promise<void>
  readonly #metrics: RuntimeContentMetrics
  readonly #log: Logger
  readonly #waiting = new Map<string, Stamp>()
  /** Logged once each, as they are tried again and again. */
  readonly #unreadable = new Set<string>()
  #wake = () => {}

  constructor(dependencies: {
    folder: ContentFolder
    hasher: ContentHasher
    /** Told of each file that could be read; must not throw. */
    hashed: (hashed: Hashed) => Promise<void>
    metrics: RuntimeContentMetrics
    log: Logger
  }) {
    this.#folder = dependencies.folder
    this.#hasher = dependencies.hasher
    this.#hashed = dependencies.hashed
    this.#metrics = dependencies.metrics
    this.#log = dependencies.log
  }

  get blobs(): number {
    return this.#waiting.size
  }

  get bytes(): number {
    let bytes = 0
    for (const { size } of this.#waiting.values()) bytes += size
    return bytes
  }

  digests(): Iterable<string> {
    return this.#waiting.keys()
  }

  /** A file that changed while it was hashed is hashed once more. */
  add(digest: string, stamp: Stamp): void {
    this.#waiting.set(digest, stamp)
    this.#wake()
  }

  remove(digest: string): void {
    this.#waiting.delete(digest)
    this.#unreadable.delete(digest)
  }

  /** Hashes what waits, and what comes, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#wake(), { once: true })
    let reportedMs = performance.now()
    while (!signal.aborted) {
      const [next] = this.#waiting
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        reportedMs = performance.now()
        continue
      }
      await this.#verify(next[0], signal)
      if (performance.now() - reportedMs < REPORT_MS || this.#waiting.size === 0) continue
      reportedMs = performance.now()
      this.#log.info({ blobs: this.blobs, bytes: this.bytes }, "verifying the runtime's content: so much is left")
    }
  }

  async #verify(digest: string, signal: AbortSignal): Promise<void> {
    const { algorithm, hex } = parseDigest(digest)
    const stamp = await this.#folder.stamp(digest)
    if (stamp !== undefined) {
      this.#waiting.set(digest, stamp)
      const found = await this.#hash(digest, stamp.size, algorithm, signal)
      if (found !== undefined) await this.#tell({ digest, stamp, isRight: found.hex === hex, pieceMap: found.pieceMap })
    }
    const newer = this.#waiting.get(digest)
    // What could not be read is added again by the next reading of the folder.
    this.#waiting.delete(digest)
    if (newer !== undefined && newer.key !== stamp?.key) this.#waiting.set(digest, newer)
  }

  async #tell(hashed: Hashed): Promise<void> {
    this.#unreadable.delete(hashed.digest)
    this.#metrics.verified.inc({ result: hashed.isRight ? 'right' : 'wrong' })
    this.#metrics.verifiedBytes.inc(hashed.stamp.size)
    await this.#hashed(hashed)
  }

  async #hash(digest: string, size: number, algorithm: DigestAlgorithm, signal: AbortSignal) {
    const file = this.#folder.file(digest)
    try {
      return await this.#hasher.hashUnhurried(file, size, algorithm, signal)
    } catch (err) {
      if (signal.aborted || (await this.#folder.stamp(digest)) === undefined) return undefined
      this.#metrics.verified.inc({ result: 'unreadable' })
      if (!this.#unreadable.has(digest))
        this.#log.warn({ file, err }, "a file of the runtime's content can not be read")
      this.#unreadable.add(digest)
      return undefined
    }
  }
}
