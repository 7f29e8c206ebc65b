const FIRST_CAPACITY = 16
const GONE = -1

/**
 * Small numbers in the order in which they were added, and when, in a ring. What is taken out leaves a gap until all
 * that is older is gone too, so that neither costs more than one place: those that come together mostly go together.
 */
export class Ages {
  #ring = new Int32Array(FIRST_CAPACITY)
  #times = new Float64Array(FIRST_CAPACITY)
  /** Places count from the first ever; those from `#begin` to before `#end` are in the ring. */
  #begin = 0
  #end = 0

  /** The one that was added first; -1: none. */
  get oldest(): number {
    return this.#begin === this.#end ? -1 : (this.#ring[this.#begin & (this.#ring.length - 1)] as number)
  }

  /** Returns its place, by which it is found and taken out again. */
  add(value: number, now: number): number {
    if (this.#end - this.#begin === this.#ring.length) this.#grow()
    const place = this.#end++ & (2 ** 31 - 1)
    const at = place & (this.#ring.length - 1)
    this.#ring[at] = value
    this.#times[at] = now
    return place
  }

  /** When the one at a place was added. */
  time(place: number): number {
    return this.#times[place & (this.#times.length - 1)] as number
  }

  delete(place: number): void {
    const ring = this.#ring
    const mask = ring.length - 1
    ring[place & mask] = GONE
    while (this.#begin !== this.#end && ring[this.#begin & mask] === GONE) this.#begin++
  }

  /** The one that was added next after the one at a place; -1: none. */
  after(place: number): number {
    const ring = this.#ring
    const mask = ring.length - 1
    for (let at = (place + 1) & mask; at !== (this.#end & mask); at = (at + 1) & mask) {
      if (ring[at] !== GONE) return ring[at] as number
    }
    return -1
  }

  #grow(): void {
    const [ring, times] = [this.#ring, this.#times]
    const mask = ring.length - 1
    const wider = new Int32Array(ring.length * 2)
    const later = new Float64Array(wider.length)
    for (let place = this.#begin; place < this.#end; place++) {
      wider[place & (wider.length - 1)] = ring[place & mask] as number
      later[place & (later.length - 1)] = times[place & mask] as number
    }
    this.#ring = wider
    this.#times = later
  }
}
