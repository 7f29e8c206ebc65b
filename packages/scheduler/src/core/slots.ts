import { grown } from './flights.ts'

/** Transfers that a node has in flight at once in all its swarms together, as child and as parent each. */
export const NODE_SLOTS = 3
/** No more slots than this, however long control takes. */
const MOST_SLOTS = 16

/**
 * Slots of a peer in a swarm (`U` = `D` of SCHEDULING.md, "Slots"): few, so that a piece is soon whole and can be sent
 * on, and as many down as up, so that nobody idles. Where control takes as long as a piece, more keep the links busy:
 * 4 at λ = 1, 6 at λ = 2, and so on in that line.
 * @param pieces of the blob
 * @param lambda the latency of control in piece times: from the end of a transfer to the begin of the next in its slot
 */
export function slotsFor(pieces: number, lambda: number): number {
  const base = pieces < 32 ? 1 : pieces < 128 ? 2 : 3
  return lambda < 1 ? base : Math.min(MOST_SLOTS, Math.max(base, Math.round(2 + 2 * lambda)))
}

/** A node is judged by so many transfers at a time, or by one a slot. */
const LEAST_SAMPLES = 4
const MOST_RATIO = 1.5
const SLOW = 0.62
const FAST = 0.9
const FAST_IN_A_ROW = 3
/** Slots of a node that is held to none. */
const UNBOUNDED = 2 ** 30
const FIRST_CAPACITY = 16
/** Fields of a node's row: slots that it is held to; sum and number of samples; fast judgements in a row. */
const MOST = 0
const SUM = 1
const COUNT = 2
const FAST_RUN = 3
const ROW = 4

/**
 * How many slots of each node a slow link can fill (SCHEDULING.md, "Adaptation"), as child or as parent: with too many
 * its transfers are slow for everybody at the other end, with fewer each is as fast as the others'.
 */
export class SlotAdaptation {
  #rows = new Float64Array(FIRST_CAPACITY * ROW)

  /** Makes room for a node that nothing is known of. */
  reset(node: number): void {
    if ((node + 1) * ROW > this.#rows.length) {
      this.#rows = grown(this.#rows, new Float64Array(Math.max((node + 1) * ROW, this.#rows.length * 2)))
    }
    this.#rows.fill(0, node * ROW, (node + 1) * ROW)
    this.#rows[node * ROW + MOST] = UNBOUNDED
  }

  isReduced(node: number): boolean {
    return this.#rows[node * ROW + MOST] !== UNBOUNDED
  }

  /** Of `slots` for an ordinary node, those for this one. */
  limit(node: number, slots: number): number {
    return Math.min(slots, this.#rows[node * ROW + MOST] as number)
  }

  /**
   * Takes the rate of a transfer, relative to the median. Returns whether the limit has changed.
   * @param slots of an ordinary node
   */
  sample(node: number, ratio: number, slots: number): boolean {
    const rows = this.#rows
    const row = node * ROW
    const sum = (rows[row + SUM] as number) + Math.min(MOST_RATIO, ratio)
    const count = (rows[row + COUNT] as number) + 1
    const held = this.limit(node, slots)
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
    return this.limit(node, slots) !== held
  }
}
