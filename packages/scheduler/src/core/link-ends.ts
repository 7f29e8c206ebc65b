import { grown } from './tables.ts'

/** A node is judged by so many transfers at a time, or by one a slot. */
const LEAST_SAMPLES = 4
const MOST_RATIO = 1.5
const SLOW = 0.62
const FAST = 0.9
const FAST_IN_A_ROW = 3
/** Slots of a node that is held to none. */
const UNBOUNDED = 2 ** 30
/** Weight of a new transfer in how long a node's transfers take. */
const TIME_WEIGHT = 1 / 8

const FIRST_CAPACITY = 16
/** Fields of a node's row: slots it has that are not taken, below 0 while more are; transfers that it may have besides. */
const ROOM = 0
const LEFT = 1
/** Slots it has; how long transfers take. */
const LIMIT = 2
const MS_PER_BYTE = 3
/** Slots that it is held to; sum and number of samples since it was last judged; fast judgements in a row. */
const MOST = 4
const SUM = 5
const COUNT = 6
const FAST_RUN = 7
const ROW = 8

/**
 * What changes with every transfer about nodes as one end of it, as child or as parent, by the node's index. A node's
 * numbers lie side by side, half a cache line: transfers come and go in no order of nodes.
 *
 * It also learns how many slots of each node a slow link can fill (SCHEDULING.md, "Adaptation"): with too many its
 * transfers are slow for everybody at the other end, with fewer each is as fast as the others'.
 */
export class LinkEnds {
  #rows = new Float32Array(FIRST_CAPACITY * ROW)

  /** Makes room for a node that nothing is known of, and that has announced so many transfers at once. */
  reset(node: number, announced: number): void {
    const end = (node + 1) * ROW
    if (end > this.#rows.length) {
      this.#rows = grown(this.#rows, new Float32Array(Math.max(end, this.#rows.length * 2)))
    }
    this.#rows.fill(0, node * ROW, end)
    this.#rows[node * ROW + MOST] = UNBOUNDED
    this.#rows[node * ROW + LEFT] = announced
  }

  /** Whether nothing is in flight, in any swarm. */
  isIdle(node: number): boolean {
    return this.#rows[node * ROW + ROOM] === this.#rows[node * ROW + LIMIT]
  }

  /** Transfers that it may have besides those that are in flight, however small they are. */
  left(node: number): number {
    return this.#rows[node * ROW + LEFT] as number
  }

  hasFree(node: number): boolean {
    return (this.#rows[node * ROW + ROOM] as number) > 0 && (this.#rows[node * ROW + LEFT] as number) > 0
  }

  /** Begins a transfer that takes so much of a slot. */
  take(node: number, share: number): void {
    this.#rows[node * ROW + ROOM] = (this.#rows[node * ROW + ROOM] as number) - share
    this.#rows[node * ROW + LEFT] = (this.#rows[node * ROW + LEFT] as number) - 1
  }

  /** Ends a transfer that took so much of a slot. */
  free(node: number, share: number): void {
    this.#rows[node * ROW + ROOM] = (this.#rows[node * ROW + ROOM] as number) + share
    this.#rows[node * ROW + LEFT] = (this.#rows[node * ROW + LEFT] as number) + 1
  }

  /** Says how many slots the node has: those of its link, no more than it has announced, and none while it is paused. */
  setLimit(node: number, slots: number): void {
    this.#rows[node * ROW + ROOM] =
      (this.#rows[node * ROW + ROOM] as number) + slots - (this.#rows[node * ROW + LIMIT] as number)
    this.#rows[node * ROW + LIMIT] = slots
  }

  /** How long its transfers take, in milliseconds a byte; 0: not known. */
  msPerByte(node: number): number {
    return this.#rows[node * ROW + MS_PER_BYTE] as number
  }

  /** Takes how long a transfer took. */
  took(node: number, msPerByte: number): void {
    const mean = this.#rows[node * ROW + MS_PER_BYTE] as number
    this.#rows[node * ROW + MS_PER_BYTE] = mean + (mean === 0 ? 1 : TIME_WEIGHT) * (msPerByte - mean)
  }

  isReduced(node: number): boolean {
    return this.#rows[node * ROW + MOST] !== UNBOUNDED
  }

  /** Of `slots` for an ordinary node, those that this one's link can fill. */
  fillable(node: number, slots: number): number {
    return Math.min(slots, this.#rows[node * ROW + MOST] as number)
  }

  /**
   * Takes the rate of a transfer, relative to the median. Returns whether what is fillable has changed.
   * @param slots of an ordinary node
   */
  sample(node: number, ratio: number, slots: number): boolean {
    const rows = this.#rows
    const row = node * ROW
    const sum = (rows[row + SUM] as number) + Math.min(MOST_RATIO, ratio)
    const count = (rows[row + COUNT] as number) + 1
    const held = this.fillable(node, slots)
    const isJudged = count >= Math.max(LEAST_SAMPLES, held)
    rows[row + SUM] = isJudged ? 0 : sum
    rows[row + COUNT] = isJudged ? 0 : count
    if (!isJudged) return false
    const mean = sum / count
    const fastRun = mean > FAST ? (rows[row + FAST_RUN] as number) + 1 : 0
    rows[row + FAST_RUN] = fastRun
    if (mean < SLOW) {
      rows[row + MOST] = Math.max(1, Math.round(held * mean))
    } else if (this.isReduced(node) && fastRun >= FAST_IN_A_ROW) {
      rows[row + FAST_RUN] = 0
      rows[row + MOST] = held + 1 >= slots ? UNBOUNDED : held + 1
    }
    return this.fillable(node, slots) !== held
  }
}
