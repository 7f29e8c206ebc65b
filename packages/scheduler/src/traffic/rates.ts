/** A rate forgets: what came so many seconds ago counts by 1/e. */
const MEMORY_MS = 5_000
const FIRST_CAPACITY = 16

/** How much comes per second lately, for each of a number of things; a flow that stays even is shown as it is. */
export class Rates {
  /** Decayed sums, and the time at which each was right. */
  #sums = new Float64Array(FIRST_CAPACITY)
  #times = new Float64Array(FIRST_CAPACITY)

  /** Notes that `amount` came. @param now milliseconds from any start, never less than before */
  add(index: number, amount: number, now: number): void {
    if (index >= this.#sums.length) this.#grow(index + 1)
    this.#sums[index] = this.#decayed(index, now) + amount
    this.#times[index] = now
  }

  /** Amount per second; 0 where nothing came. */
  perSecond(index: number, now: number): number {
    return index < this.#sums.length ? (this.#decayed(index, now) * 1000) / MEMORY_MS : 0
  }

  /** The index is another thing's from now on. */
  reset(index: number): void {
    if (index < this.#sums.length) this.#sums[index] = 0
  }

  #decayed(index: number, now: number): number {
    const sum = this.#sums[index] as number
    return sum === 0 ? 0 : sum * Math.exp(((this.#times[index] as number) - now) / MEMORY_MS)
  }

  #grow(least: number): void {
    const capacity = Math.max(least, this.#sums.length * 2)
    const [sums, times] = [new Float64Array(capacity), new Float64Array(capacity)]
    sums.set(this.#sums)
    times.set(this.#times)
    this.#sums = sums
    this.#times = times
  }
}
