/** A rate forgets: what came so many seconds ago counts by 1/e. */
const MEMORY_MS = 5_000
/** What comes within so long counts as of its begin, a hundredth off at the most: decay is costly for each piece. */
const STEP_MS = 50
const FIRST_CAPACITY = 16

/** How much comes per second lately, for each of a number of things; a flow that stays even is shown as it is. */
export class Rates {
  /** Decayed sum and the time at which it was right, side by side for each thing. */
  #rows = new Float64Array(FIRST_CAPACITY * 2)

  /** Notes that `amount` came. @param now milliseconds from any start, never less than before */
  add(index: number, amount: number, now: number): void {
    const row = index * 2
    if (row >= this.#rows.length) this.#grow(row + 2)
    const rows = this.#rows
    if (now - (rows[row + 1] as number) >= STEP_MS) {
      rows[row] = this.#decayed(row, now)
      rows[row + 1] = now
    }
    rows[row] = (rows[row] as number) + amount
  }

  /** Amount per second; 0 where nothing came. */
  perSecond(index: number, now: number): number {
    const row = index * 2
    return row < this.#rows.length ? (this.#decayed(row, now) * 1000) / MEMORY_MS : 0
  }

  /** The index is another thing's from now on. */
  reset(index: number): void {
    if (index * 2 < this.#rows.length) this.#rows[index * 2] = 0
  }

  #decayed(row: number, now: number): number {
    const sum = this.#rows[row] as number
    return sum === 0 ? 0 : sum * Math.exp(((this.#rows[row + 1] as number) - now) / MEMORY_MS)
  }

  #grow(least: number): void {
    const rows = new Float64Array(Math.max(least, this.#rows.length * 2))
    rows.set(this.#rows)
    this.#rows = rows
  }
}
