/** A piece is late after so many times the usual time, as the scheduler has it (PATIENCE in its pace.ts). */
const PATIENCE = 3
/** Weight of the last piece in what is usual. */
const WEIGHT = 1 / 8
/** No piece is late before, however fast the others were: a holder may just have much to do. */
const LEAST_LATE_MS = 250

/** How long the pieces of one download take, and from when on one is late. All in milliseconds. */
export class PiecePace {
  #usualMs: number | undefined

  /** A piece came after `durationMs`. */
  came(durationMs: number): void {
    this.#usualMs = this.#usualMs === undefined ? durationMs : this.#usualMs + WEIGHT * (durationMs - this.#usualMs)
  }

  /** How old a fetch is when it is late; as long as none has come, the least. */
  get lateMs(): number {
    return Math.max(LEAST_LATE_MS, PATIENCE * (this.#usualMs ?? 0))
  }
}
