import { pause, type Startable } from '@shoal/core'
import type { StoredBlob } from './blob.ts'

const DAY_MS = 86_400_000
/** However little there is, or much: blobs come and go meanwhile. */
const LEAST_PAUSE_MS = 1000
const MOST_PAUSE_MS = 3_600_000

/** What a rolling scrub works on. */
interface RollingScrubDependencies {
  /** Blobs that are whole. */
  readonly blobs: () => Iterable<StoredBlob>
  /** Checks one, and gives it up when it is damaged. */
  readonly check: (blob: StoredBlob, signal: AbortSignal) => Promise<void>
  readonly pause?: typeof pause
  /** 0 ≤ x < 1: where the round begins, so that what is checked late is not the same after each restart. */
  readonly random: () => number
}

/**
 * Checks all whole blobs in turn, one at a time, at such a pace that each has its turn once in `days`: by their digests,
 * which nobody chooses, from one that chance names. A blob that came since has its turn when the round comes to it.
 */
export class RollingScrub implements Startable {
  readonly #periodMs: number
  readonly #dependencies: RollingScrubDependencies
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined

  /** @param days 0: nothing is checked */
  constructor(days: number, dependencies: RollingScrubDependencies) {
    this.#periodMs = days * DAY_MS
    this.#dependencies = dependencies
  }

  async start(): Promise<void> {
    if (this.#periodMs > 0) this.#running ??= this.#run(this.#stopping.signal)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { blobs, check, pause: wait = pause, random } = this.#dependencies
    let after: string | undefined
    while (!signal.aborted) {
      const all = [...blobs()].sort((a, b) => (a.digest < b.digest ? -1 : 1))
      const blob =
        after === undefined
          ? all[Math.floor(random() * all.length)]
          : (all.find(({ digest }) => digest > (after ?? '')) ?? all[0])
      const bytes = all.reduce((sum, { size }) => sum + size, 0)
      await wait(pauseMs(blob, bytes, this.#periodMs), signal)
      if (blob === undefined || signal.aborted) continue
      after = blob.digest
      // What cannot be checked now is said by whoever checks, and has its turn in the next round.
      await check(blob, signal).catch(() => {})
    }
  }
}

/** How long to wait before a blob's turn: its share of the period. */
function pauseMs(blob: StoredBlob | undefined, bytes: number, periodMs: number): number {
  if (blob === undefined) return MOST_PAUSE_MS
  const share = bytes === 0 ? 1 : blob.size / bytes
  return Math.min(MOST_PAUSE_MS, Math.max(LEAST_PAUSE_MS, share * periodMs))
}
