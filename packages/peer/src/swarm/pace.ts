/** Spreads work over time: `burst` pieces of it at once, `perSecond` in the long run. */
export class Pace {
  readonly #spacingMs: number
  readonly #burst: number
  /** When all that was given out would be paid for. */
  #paidAtMs = Number.NEGATIVE_INFINITY

  constructor({ burst, perSecond }: { readonly burst: number; readonly perSecond: number }) {
    this.#burst = burst
    this.#spacingMs = 1000 / perSecond
  }

  /** Takes the next turn; returns in how many milliseconds it is. `nowMs` is of a clock that does not step back. */
  take(nowMs: number): number {
    this.#paidAtMs = Math.max(nowMs, this.#paidAtMs) + this.#spacingMs
    return Math.max(0, this.#paidAtMs - this.#burst * this.#spacingMs - nowMs)
  }
}
