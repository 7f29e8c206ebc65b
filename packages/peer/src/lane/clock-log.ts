import type { Logger } from '@shoal/core'

/** A node is named again after this. */
const AGAIN_MS = 3_600_000
/** Nodes that are named in that time at the most: anybody can say any time. */
const MAX_NAMED = 16

/** Says in the log whose clock is far from this node's, each node once an hour. Times of `nowMs` are of one clock. */
export class ClockLog {
  readonly #log: Logger
  /** When each node was named. */
  readonly #named = new Map<string, number>()

  constructor(log: Logger) {
    this.#log = log
  }

  /** @param aheadMs by how much the node's clock is ahead of ours; negative: behind */
  found(peerId: string, aheadMs: number, nowMs: number): void {
    for (const [named, sinceMs] of this.#named) if (nowMs - sinceMs >= AGAIN_MS) this.#named.delete(named)
    if (this.#named.has(peerId) || this.#named.size >= MAX_NAMED) return
    this.#named.set(peerId, nowMs)
    this.#log.warn(
      { peer: peerId, theirTime: timeText(Date.now() + aheadMs), ownTime: timeText(Date.now()) },
      'the clock of a node is more than a minute from the clock of this one; set both by NTP',
    )
  }
}

function timeText(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? 'beyond any date' : date.toISOString()
}
