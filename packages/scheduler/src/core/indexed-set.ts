/** A set of small whole numbers with O(1) insert, remove and choice of the n-th member (in no order). */
export class IndexedSet {
  /** Members in the first `size` places. */
  members = new Int32Array(16)
  size = 0
  #places = new Int32Array(16).fill(-1)

  has(value: number): boolean {
    return value < this.#places.length && (this.#places[value] as number) >= 0
  }

  add(value: number): void {
    if (this.has(value)) return
    if (value >= this.#places.length) this.#grow(value + 1)
    this.members[this.size] = value
    this.#places[value] = this.size++
  }

  delete(value: number): void {
    if (!this.has(value)) return
    const place = this.#places[value] as number
    const last = this.members[--this.size] as number
    this.members[place] = last
    this.#places[last] = place
    this.#places[value] = -1
  }

  #grow(least: number): void {
    const length = Math.max(least, this.#places.length * 2)
    const places = new Int32Array(length).fill(-1)
    places.set(this.#places)
    const members = new Int32Array(length)
    members.set(this.members)
    this.#places = places
    this.members = members
  }
}
