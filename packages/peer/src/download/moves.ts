/** When anything last moved in one download: for who asks whether it is worth waiting for. Milliseconds. */
export class Moves {
  readonly #arrivals: Int32Array<SharedArrayBuffer>
  readonly #now: () => number
  #seen = 0
  #lastMs: number | undefined

  /** @param arrivals one number that changes whenever bytes come */
  constructor(arrivals: Int32Array<SharedArrayBuffer>, now: () => number) {
    this.#arrivals = arrivals
    this.#now = now
  }

  /** Something moved for the blob, though not on this node. */
  movedElsewhere(): void {
    this.#lastMs = this.#now()
  }

  /**
   * When bytes were last found to have come, or something else was going on; undefined: never. To be asked a few times
   * a second, as what came before the last time is taken to have come just now.
   * @param isBusy something else is going on
   */
  lastMs(isBusy: boolean): number | undefined {
    const arrived = Atomics.load(this.#arrivals, 0)
    if (isBusy || arrived !== this.#seen) this.#lastMs = this.#now()
    this.#seen = arrived
    return this.#lastMs
  }
}
