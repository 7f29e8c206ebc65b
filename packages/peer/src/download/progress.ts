/** So many bytes are as good as a piece, which may be 64 times as long and take its time on a slow link. */
const PROGRESS_BYTES = 256 * 1024
/** Bytes beyond so many pieces without one that was right are no progress. */
const MOST_PIECES = 16

/**
 * How one download gets on: when anything last moved, for who asks whether it is worth waiting for, and when it last
 * made progress, for the ladder. Times in milliseconds of one clock.
 */
export class Progress {
  readonly #arrivals: Int32Array<SharedArrayBuffer>
  readonly #now: () => number
  readonly #mostBytes: number
  #seen = 0
  /** Since the last piece that was right. */
  #bytes = 0
  #bytesAtProgress = 0
  #movedMs: number | undefined
  #progressMs: number

  /** @param arrivals one number that grows by the bytes that come, and wraps around */
  constructor(arrivals: Int32Array<SharedArrayBuffer>, pieceBytes: number, now: () => number) {
    this.#arrivals = arrivals
    this.#now = now
    this.#mostBytes = MOST_PIECES * pieceBytes
    this.#progressMs = now()
  }

  /** When a piece, or as many bytes as the smallest has, last came, or something else was told to count as that. */
  get progressMs(): number {
    return this.#progressMs
  }

  /** A piece came and was right. */
  pieceCame(): void {
    this.#bytes = 0
    this.#bytesAtProgress = 0
    this.restart()
  }

  /** The wait for progress begins anew. */
  restart(): void {
    this.#progressMs = this.#now()
  }

  /** Something moved for the blob, though not on this node. */
  movedElsewhere(): void {
    this.#movedMs = this.#now()
  }

  /**
   * Looks for what came since the last look, which is taken to have come just now: to be called a few times a second.
   * Returns when anything last moved; undefined: never.
   * @param isBusy something else is going on
   */
  look(isBusy: boolean): number | undefined {
    const arrived = Atomics.load(this.#arrivals, 0)
    const bytes = (arrived - this.#seen) >>> 0
    this.#seen = arrived
    this.#bytes += bytes
    if (isBusy || bytes > 0) this.#movedMs = this.#now()
    if (this.#bytes - this.#bytesAtProgress >= PROGRESS_BYTES && this.#bytes <= this.#mostBytes) {
      this.#bytesAtProgress = this.#bytes
      this.restart()
    }
    return this.#movedMs
  }
}
