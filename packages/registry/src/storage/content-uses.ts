import { type Digest, formatDigest } from '@shoal/core'
import { type Turn, Turns } from './turns.ts'

/** Contents whose last use is remembered: some 40 MiB of memory. */
const MAX_REMEMBERED = 250_000

/** Knows when contents were last named by a client. */
export interface UseRecord {
  /** Resolves when everybody who asks from now on is told of the use. */
  note(digest: Digest): Promise<void>
  /** Whether `digest` was, or may have been, used at `sinceMs` (milliseconds since 1970) or later. */
  usedSince(digest: Digest, sinceMs: number): Promise<boolean>
}

interface UseMemoryOptions {
  /** What time it is; milliseconds since 1970. */
  readonly now?: () => number
  /**
   * From when on all uses are known; milliseconds since 1970. Before it everything counts as used. A process that
   * serves clients knows nothing of what was before its start, which is the default; a tool that works on the storage of
   * a registry that is not running says 0.
   */
  readonly knownSinceMs?: number
}

/** The uses that one process saw. */
export class UseMemory implements UseRecord {
  readonly #now: () => number
  /** Oldest use first. */
  readonly #lastUsedMs = new Map<string, number>()
  #knownSinceMs: number

  constructor({ now = Date.now, knownSinceMs = now() }: UseMemoryOptions = {}) {
    this.#now = now
    this.#knownSinceMs = knownSinceMs
  }

  async note(digest: Digest): Promise<void> {
    const key = formatDigest(digest)
    this.#lastUsedMs.delete(key)
    this.#lastUsedMs.set(key, this.#now())
    if (this.#lastUsedMs.size <= MAX_REMEMBERED) return
    for (const [oldest, usedMs] of this.#lastUsedMs) {
      this.#lastUsedMs.delete(oldest)
      // What is forgotten must not look unused.
      this.#knownSinceMs = Math.max(this.#knownSinceMs, usedMs + 1)
      break
    }
  }

  async usedSince(digest: Digest, sinceMs: number): Promise<boolean> {
    if (sinceMs < this.#knownSinceMs) return true
    return (this.#lastUsedMs.get(formatDigest(digest)) ?? 0) >= sinceMs
  }
}

/**
 * The uses of contents (blobs and manifests) that garbage collection must respect. A client that asks whether a blob is
 * there, and is told that it is, does not push it but names it in a manifest a moment later: between the two nothing on
 * disk says that it is needed.
 */
export class ContentUses {
  readonly #record: UseRecord
  readonly #turns: Pick<Turns, 'take'>

  /** @param turns by content */
  constructor(record: UseRecord = new UseMemory(), turns: Pick<Turns, 'take'> = new Turns()) {
    this.#record = record
    this.#turns = turns
  }

  /**
   * A client uses `digest`: await it before looking whether it is there. Who only looks is answered also when nobody can
   * be told: the manifest that it then pushes is checked again.
   */
  async note(digest: Digest): Promise<void> {
    await this.#record.note(digest).catch(() => {})
  }

  /** Whether `digest` was, or may have been, used at `sinceMs` (milliseconds since 1970) or later. */
  usedSince(digest: Digest, sinceMs: number): Promise<boolean> {
    return this.#record.usedSince(digest, sinceMs)
  }

  /** Notes the use of `target` and does `work`, which links to it, when nobody else makes or breaks links to it. */
  async link<T>(target: Digest, work: (turn: Turn) => Promise<T>): Promise<T> {
    await this.#record.note(target)
    return this.alone(target, work)
  }

  /** Does `work` when nobody else makes or breaks links to `target`, or removes it. */
  alone<T>(target: Digest, work: (turn: Turn) => Promise<T>): Promise<T> {
    return this.#turns.take(formatDigest(target), work)
  }
}
