import type { LaneParent } from './piece-fetch.ts'

/** How a piece is to come: over the lane, over a libp2p stream, or over that while the lane is tried again. */
export type Way = 'tls' | 'libp2p' | 'retry'

/** The lane of a parent is tried again after this, and twice as late, up to the maximum, each time. */
const RETRY_MS = 5000
const MAX_RETRY_MS = 300_000
/** Parents that are remembered; the one found out first is forgotten first. */
const MAX_PARENTS = 4096

interface Unreached {
  waitMs: number
  retryAtMs: number
}

/** Parents whose lane is not reached, though libp2p reaches them. Times in milliseconds of one clock. */
export class UnreachedParents {
  readonly #parents = new Map<string, Unreached>()

  get count(): number {
    return this.#parents.size
  }

  /** The way for a piece that is to come from the parent now. Whoever is told `retry` tries; others are not told too. */
  wayTo(parent: LaneParent, nowMs: number): Way {
    const known = this.#parents.get(keyOf(parent))
    if (known === undefined) return 'tls'
    if (nowMs < known.retryAtMs) return 'libp2p'
    known.waitMs = Math.min(MAX_RETRY_MS, 2 * known.waitMs)
    known.retryAtMs = nowMs + known.waitMs
    return 'retry'
  }

  /** The parent's lane is not reached; returns whether that is news. */
  add(parent: LaneParent, nowMs: number): boolean {
    const key = keyOf(parent)
    if (this.#parents.has(key)) return false
    this.#parents.set(key, { waitMs: RETRY_MS, retryAtMs: nowMs + RETRY_MS })
    const [first] = this.#parents.keys()
    if (this.#parents.size > MAX_PARENTS && first !== undefined) this.#parents.delete(first)
    return true
  }

  /** The parent's lane may be tried at once; returns whether that is news. */
  delete(parent: LaneParent): boolean {
    return this.#parents.delete(keyOf(parent))
  }
}

function keyOf({ peerId, host, port }: LaneParent): string {
  return `${peerId}@${host}:${port}`
}
