import { performance } from 'node:perf_hooks'

/** Runs a tick soon after it is woken, and whenever the last tick said it is due, but never two within `tickMs`. */
export class Ticker {
  readonly #tickMs: number
  /** Returns when it is next due, on the clock of `performance.now`; undefined: when woken. */
  readonly #tick: () => number | undefined
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined
  /** When the timer fires. */
  #firesAt = Number.POSITIVE_INFINITY
  #tickedAt = Number.NEGATIVE_INFINITY
  #isStopped = false

  constructor(tickMs: number, tick: () => number | undefined) {
    this.#tickMs = tickMs
    this.#tick = tick
  }

  /** Something changed. */
  wake(): void {
    this.#planFor(performance.now())
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
  }

  #planFor(dueAt: number): void {
    const at = Math.max(dueAt, this.#tickedAt + this.#tickMs)
    if (this.#isStopped || this.#immediate !== undefined || at >= this.#firesAt) return
    clearTimeout(this.#timer)
    const waitMs = at - performance.now()
    if (waitMs <= 0) {
      this.#immediate = setImmediate(() => this.#run())
    } else {
      this.#firesAt = at
      this.#timer = setTimeout(() => this.#run(), Math.ceil(waitMs))
    }
  }

  #run(): void {
    this.#immediate = undefined
    this.#firesAt = Number.POSITIVE_INFINITY
    this.#tickedAt = performance.now()
    const dueAt = this.#tick()
    if (dueAt !== undefined) this.#planFor(dueAt)
  }
}
