/** A scheduler is told that a lease gets on so often at the most. */
const SAY_MS = 2000

/**
 * Whether a download has a lease, and when its scheduler is to be told that it gets on: large pieces of a slow origin take
 * longer than a scheduler waits for one before it has another node fetch them too.
 */
export class LeaseWord {
  /** When the scheduler last had reason to think that it gets on; undefined: there is no lease. */
  #toldMs: number | undefined

  get isHeld(): boolean {
    return this.#toldMs !== undefined
  }

  /** There is a lease, or more of one, since now. */
  begun(nowMs: number): void {
    this.#toldMs = nowMs
  }

  /** There is none any more. */
  ended(): void {
    this.#toldMs = undefined
  }

  /** Whether the scheduler is to be told now. @param progressMs when the download last made progress */
  isDue(progressMs: number, nowMs: number): boolean {
    if (this.#toldMs === undefined || progressMs <= this.#toldMs || nowMs - this.#toldMs < SAY_MS) return false
    this.#toldMs = nowMs
    return true
  }
}
