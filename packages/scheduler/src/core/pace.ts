/** Before so many transfers nothing is concluded from how long they take. */
const FIRST_SAMPLES = 32
/** Nobody is called slow before the median has settled. */
const SETTLED_SAMPLES = 128
/** Steps of the running median: large at first. */
const MEDIAN_STEP = 0.002
const WEIGHT = 1 / 32
/** A transfer is overdue after so many times the usual time. */
const PATIENCE = 3

/** How long transfers of one swarm take. Times in milliseconds, for a piece of full length. */
export class Pace {
  #samples = 0
  /** Of a whole transfer, of the share of its child's link that it had, and of the control around it. */
  #durationMs = 0
  #pieceMs = 0
  #controlMs = 0
  #medianMs = 0

  /** Whether enough was seen to conclude anything. */
  get isKnown(): boolean {
    return this.#samples >= FIRST_SAMPLES
  }

  /** Whether it is known what is usual, so that a slow node can be told. */
  get isSettled(): boolean {
    return this.#samples >= SETTLED_SAMPLES
  }

  /** Whether it is time to ask whether `lambda` has changed. */
  get isReviewDue(): boolean {
    return this.isKnown && this.#samples % FIRST_SAMPLES === 0
  }

  /** The latency of control in piece times; 0 while nothing is known. */
  get lambda(): number {
    return this.isKnown ? this.#controlMs / this.#pieceMs : 0
  }

  /**
   * Takes a transfer that has ended.
   * @param durationMs from request to verified
   * @param ageMs from assignment to report, at least `durationMs`
   * @param share transfers to the child at the time, this one included
   */
  sample(durationMs: number, ageMs: number, share: number): void {
    const weight = Math.max(WEIGHT, 1 / ++this.#samples)
    this.#durationMs += weight * (durationMs - this.#durationMs)
    this.#pieceMs += weight * (durationMs / share - this.#pieceMs)
    this.#controlMs += weight * (ageMs - durationMs - this.#controlMs)
    if (this.#samples === 1) this.#medianMs = durationMs
    const step = 1 + Math.max(MEDIAN_STEP, 1 / this.#samples)
    this.#medianMs *= durationMs > this.#medianMs ? step : 1 / step
  }

  /** The rate of a transfer relative to the median. */
  ratio(durationMs: number): number {
    return this.#medianMs / durationMs
  }

  /**
   * From this age on a transfer is overdue. The floor of a piece time for each slot keeps the first transfers, which
   * have the links for themselves, from making the later ones look overdue.
   */
  overdueMs(slots: number, usualOfParentMs: number): number {
    return PATIENCE * Math.max(this.#durationMs, slots * this.#pieceMs, usualOfParentMs) + 2 * this.#controlMs
  }
}
