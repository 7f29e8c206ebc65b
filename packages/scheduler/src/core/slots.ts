import { grown } from './flights.ts'

/** Transfers that a node has in flight at once in all its swarms together, as child and as parent each. */
export const NODE_SLOTS = 3
/** No more slots than this, however long control takes. */
const MOST_SLOTS = 16

/**
 * Slots of a peer in a swarm (`U` = `D` of SCHEDULING.md, "Slots"): few, so that a piece is soon whole and can be sent
 * on, and as many down as up, so that nobody idles. Where control takes as long as a piece, more keep the links busy:
 * 4 from λ = 1, 6 from λ = 2, and so on in that line.
 * @param pieces of the blob
 * @param lambda the latency of control in piece times: from the end of a transfer to the begin of the next in its slot
 */
export function slotsFor(pieces: number, lambda: number): number {
  const base = pieces < 32 ? 1 : pieces < 128 ? 2 : 3
  return lambda < 1 ? base : Math.min(MOST_SLOTS, 2 + 2 * Math.floor(lambda))
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

/**
 * How many slots of each node a slow link can fill (SCHEDULING.md, "Adaptation"), as child or as parent: with too many
 * its transfers are slow for everybody at the other end, with fewer each is as fast as the others'.
 */
export class SlotAdaptation {
  /** Slots that each node is held to. */
  #most = new Int32Array(FIRST_CAPACITY).fill(UNBOUNDED)
  #sum = new Float64Array(FIRST_CAPACITY)
  #count = new Int32Array(FIRST_CAPACITY)
  #fastInARow = new Int32Array(FIRST_CAPACITY)

  /** Makes room for a node that nothing is known of. */
  reset(node: number): void {
    if (node >= this.#most.length) this.#grow(node + 1)
    this.#most[node] = UNBOUNDED
    this.#sum[node] = 0
    this.#count[node] = 0
    this.#fastInARow[node] = 0
  }

  isReduced(node: number): boolean {
    return this.#most[node] !== UNBOUNDED
  }

  /** Of `slots` for an ordinary node, those for this one. */
  limit(node: number, slots: number): number {
    return Math.min(slots, this.#most[node] as number)
  }

  /**
   * Takes the rate of a transfer, relative to the median. Returns whether the limit has changed.
   * @param slots of an ordinary node
   */
  sample(node: number, ratio: number, slots: number): boolean {
    const sum = (this.#sum[node] as number) + Math.min(MOST_RATIO, ratio)
    const count = (this.#count[node] as number) + 1
    const held = this.limit(node, slots)
    const isJudged = count >= Math.max(LEAST_SAMPLES, held)
    this.#sum[node] = isJudged ? 0 : sum
    this.#count[node] = isJudged ? 0 : count
    if (!isJudged) return false
    const mean = sum / count
    const fastInARow = mean > FAST ? (this.#fastInARow[node] as number) + 1 : 0
    this.#fastInARow[node] = fastInARow
    if (mean < SLOW) {
      this.#most[node] = Math.max(1, Math.round(held * mean))
    } else if (this.isReduced(node) && fastInARow >= FAST_IN_A_ROW) {
      this.#fastInARow[node] = 0
      this.#most[node] = held + 1 >= slots ? UNBOUNDED : held + 1
    }
    return this.limit(node, slots) !== held
  }

  #grow(least: number): void {
    const capacity = Math.max(least, this.#most.length * 2)
    this.#most = grown(this.#most, new Int32Array(capacity).fill(UNBOUNDED))
    this.#sum = grown(this.#sum, new Float64Array(capacity))
    this.#count = grown(this.#count, new Int32Array(capacity))
    this.#fastInARow = grown(this.#fastInARow, new Int32Array(capacity))
  }
}
