/** Before so many transfers nothing is called overdue. */
const FIRST_SAMPLES = 32
/** λ is looked at anew after so many transfers, and after each doubling of them before. */
const FIRST_REVIEW = 8
const REVIEW_SAMPLES = 256
/** Nobody is called slow before the median has settled. */
const SETTLED_SAMPLES = 128
/** Steps of the running median: large at first. */
const MEDIAN_STEP = 0.002
const WEIGHT = 1 / 32
/** The link's own time for a piece is among the shortest seen: the others waited for something else too. */
const FASTER_WEIGHT = 1 / 16
const SLOWER_WEIGHT = 1 / 512
/** A transfer is overdue after so many times the usual time. */
const PATIENCE = 3

/** What is known of one swarm that holds for another. */
export interface Usual {
  readonly controlMs: number
  readonly msPerByte: number
}

/** λ of SCHEDULING.md: the latency of control over the time that a link takes for a piece. */
export function lambdaOf(controlMs: number, pieceMs: number): number {
  return controlMs / pieceMs
}

/** How long transfers of one swarm take. Times in milliseconds, for a piece of full length. */
export class Pace {
  #samples = 0
  /** Of a whole transfer; of what its child's link would take for it alone (the mean, and low); of the control around it. */
  #durationMs = 0
  #meanPieceMs = 0
  #pieceMs = 0
  #controlMs = 0
  /** Share of the transfers whose slots were given away before their end. */
  #announced = 0
  #medianMs = 0

  /** Whether enough was seen to tell what is overdue. */
  get isKnown(): boolean {
    return this.#samples >= FIRST_SAMPLES
  }

  /** Whether it is known what is usual, so that a slow node can be told. */
  get isSettled(): boolean {
    return this.#samples >= SETTLED_SAMPLES
  }

  /** Whether it is time to ask whether `lambda` has changed. */
  get isReviewDue(): boolean {
    const samples = this.#samples
    if (samples >= REVIEW_SAMPLES) return samples % REVIEW_SAMPLES === 0
    return samples >= FIRST_REVIEW && (samples & (samples - 1)) === 0
  }

  /**
   * The latency of control in piece times; 0 while nothing is known. It counts twice where nodes do not announce the
   * end of a transfer: its slot is idle for all that time (simulated; docs/scheduling.md).
   */
  get lambda(): number {
    return this.#samples === 0 ? 0 : lambdaOf(this.#controlMs * (2 - this.#announced), this.#pieceMs)
  }

  /** What to begin with for pieces of another length: how long control takes, and the link for a byte. */
  usual(pieceBytes: number): Usual {
    return { controlMs: this.#controlMs * (2 - this.#announced), msPerByte: this.#pieceMs / pieceBytes }
  }

  /**
   * Takes a transfer that has ended.
   * @param durationMs from request to verified
   * @param ageMs from assignment to report, at least `durationMs`
   * @param share how many transfers shared the child's link
   * @param wasAnnounced its end was
   */
  sample(durationMs: number, ageMs: number, share: number, wasAnnounced: boolean): void {
    const weight = Math.max(WEIGHT, 1 / ++this.#samples)
    this.#durationMs += weight * (durationMs - this.#durationMs)
    const pieceMs = durationMs / share
    this.#meanPieceMs += weight * (pieceMs - this.#meanPieceMs)
    const pieceWeight = this.#samples === 1 ? 1 : pieceMs < this.#pieceMs ? FASTER_WEIGHT : SLOWER_WEIGHT
    this.#pieceMs += pieceWeight * (pieceMs - this.#pieceMs)
    this.#controlMs += weight * (ageMs - durationMs - this.#controlMs)
    this.#announced += weight * (Number(wasAnnounced) - this.#announced)
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
   * @param usualMs of transfers between the two nodes; 0: not known
   */
  overdueMs(slots: number, usualMs: number): number {
    return PATIENCE * Math.max(this.#durationMs, slots * this.#meanPieceMs, usualMs) + 2 * this.#controlMs
  }
}
