/** Indexes of nodes stay below: two fit into one exact number. */
const NODES = 2 ** 24
/** However often a pair fails, it is tried again after so long. */
const MOST_MS = 300_000
const SWEEP_MS = 5_000

interface Pair {
  /** The child is not to fetch from the parent before. */
  until: number
  /** How long it was not to after the last failure, if it has not succeeded since: so long is that remembered. */
  lastMs: number
}

/**
 * Which child is not to fetch from which parent, and until when. A pair that fails again and again may have no way to
 * each other at all while both are well with others: each time it is left alone for twice as long.
 */
export class Avoidance {
  readonly #pairs = new Map<number, Pair>()
  /** Parents that only children on the scheduler's own machine can reach, and these children. */
  readonly #confined = new Set<number>()
  readonly #local = new Set<number>()
  #sweptAt = 0

  /** The node came up. @param isConfined whether only such nodes as are local can fetch from it */
  place(node: number, isLocal: boolean, isConfined: boolean): void {
    if (isLocal) this.#local.add(node)
    if (isConfined) this.#confined.add(node)
  }

  /** Whether the child never gets anything from the parent. */
  isOutOfReach(child: number, parent: number): boolean {
    return this.#confined.size > 0 && this.#confined.has(parent) && !this.#local.has(child)
  }

  /** Leaves the pair alone for a time that does not depend on how often it failed. */
  avoid(child: number, parent: number, now: number, forMs: number): void {
    const pair = this.#pairAt(child, parent)
    pair.until = Math.max(pair.until, now + forMs)
  }

  /**
   * The pair failed: it is left alone for `firstMs`, or twice as long as the last time. Several failures of which one
   * was noticed while the pair was left alone already are one.
   */
  failed(child: number, parent: number, now: number, firstMs: number): void {
    const pair = this.#pairAt(child, parent)
    if (pair.until > now) return
    pair.lastMs = Math.min(MOST_MS, Math.max(firstMs, 2 * pair.lastMs))
    pair.until = now + pair.lastMs
  }

  /** A piece came over: the next failure counts as the first. */
  succeeded(child: number, parent: number): void {
    if (this.#pairs.size === 0) return
    const pair = this.#pairs.get(child * NODES + parent)
    if (pair !== undefined) pair.lastMs = 0
  }

  isAvoided(child: number, parent: number, now: number): boolean {
    if (this.isOutOfReach(child, parent)) return true
    if (this.#pairs.size === 0) return false
    const pair = this.#pairs.get(child * NODES + parent)
    return pair !== undefined && pair.until > now
  }

  /** Drops what is over. */
  sweep(now: number): void {
    if (now - this.#sweptAt < SWEEP_MS) return
    this.#sweptAt = now
    for (const [key, { until, lastMs }] of this.#pairs) if (until + lastMs <= now) this.#pairs.delete(key)
  }

  /** The node's index will be another's. */
  forget(node: number): void {
    this.#confined.delete(node)
    this.#local.delete(node)
    for (const key of this.#pairs.keys()) {
      if (key % NODES === node || Math.floor(key / NODES) === node) this.#pairs.delete(key)
    }
  }

  #pairAt(child: number, parent: number): Pair {
    const key = child * NODES + parent
    let pair = this.#pairs.get(key)
    if (pair === undefined) {
      pair = { until: Number.NEGATIVE_INFINITY, lastMs: 0 }
      this.#pairs.set(key, pair)
    }
    return pair
  }
}
