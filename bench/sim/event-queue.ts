const FIRST_CAPACITY = 1024

/** Which of many small whole numbers is due next: a binary heap by time in which a number's time can change. */
export class EventQueue {
  #heap = new Int32Array(FIRST_CAPACITY)
  #times = new Float64Array(FIRST_CAPACITY)
  #places = new Int32Array(FIRST_CAPACITY).fill(-1)
  #size = 0

  /** When the next one is due; Infinity: never. */
  get nextAt(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : (this.#times[this.#heap[0] as number] as number)
  }

  /** Says when `id` is due, instead of when it was due before. */
  set(id: number, at: number): void {
    if (id >= this.#times.length) this.#grow(id + 1)
    let place = this.#places[id] as number
    const isEarlier = place < 0 || at < (this.#times[id] as number)
    this.#times[id] = at
    if (place < 0) place = this.#size++
    if (isEarlier) this.#rise(id, place)
    else this.#sink(id, place)
  }

  /** When `id` is due; undefined: it is not. */
  at(id: number): number | undefined {
    return (this.#places[id] ?? -1) < 0 ? undefined : this.#times[id]
  }

  delete(id: number): void {
    const place = this.#places[id] ?? -1
    if (place < 0) return
    this.#places[id] = -1
    const last = this.#heap[--this.#size] as number
    if (place === this.#size) return
    if ((this.#times[last] as number) < (this.#times[id] as number)) this.#rise(last, place)
    else this.#sink(last, place)
  }

  /** Takes out the one that is due next. There must be one. */
  pop(): number {
    const id = this.#heap[0] as number
    this.delete(id)
    return id
  }

  #rise(id: number, from: number): void {
    const heap = this.#heap
    const at = this.#times[id] as number
    let place = from
    while (place > 0) {
      const above = (place - 1) >> 1
      const other = heap[above] as number
      if ((this.#times[other] as number) <= at) break
      heap[place] = other
      this.#places[other] = place
      place = above
    }
    heap[place] = id
    this.#places[id] = place
  }

  #sink(id: number, from: number): void {
    const heap = this.#heap
    const times = this.#times
    const at = times[id] as number
    let place = from
    for (;;) {
      let below = 2 * place + 1
      if (below >= this.#size) break
      const right = below + 1
      if (right < this.#size && (times[heap[right] as number] as number) < (times[heap[below] as number] as number)) {
        below = right
      }
      const other = heap[below] as number
      if ((times[other] as number) >= at) break
      heap[place] = other
      this.#places[other] = place
      place = below
    }
    heap[place] = id
    this.#places[id] = place
  }

  #grow(least: number): void {
    const capacity = Math.max(least, this.#times.length * 2)
    const places = new Int32Array(capacity).fill(-1)
    places.set(this.#places)
    this.#places = places
    const times = new Float64Array(capacity)
    times.set(this.#times)
    this.#times = times
    const heap = new Int32Array(capacity)
    heap.set(this.#heap)
    this.#heap = heap
  }
}
