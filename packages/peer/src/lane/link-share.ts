/** On a slow link each connection gets so many bytes while the others wait: TCP sends in bursts. */
const TURN_BYTES = 64 * 1024
/** However slow the link, a parent is silent after so long. */
const LONGEST_MS = 20_000
/** As long as so many bytes take, nothing at all may come: they may be some that nobody waits for any more, or came twice. */
const LULL_BYTES = 1024 * 1024
/** What came in about the last second says how fast the link is. */
const WINDOW_MS = 500

/**
 * What comes to one thread over all its connections. When the link is slow, each of them is still for longer than a
 * parent on a fast one may be: what was asked of the others may stand before its bytes in a queue on the way. That is no
 * reason to give a piece up, of which each byte took its time.
 */
export class LinkShare {
  readonly #busy: () => number
  #bytes = 0
  #owed = 0
  /** What came lately, and in how long. */
  #lately = 0
  #latelyMs = 0
  /** Until when that was counted. */
  #countedMs = 0

  /** @param busy how many connections wait for bytes */
  constructor(busy: () => number) {
    this.#busy = busy
  }

  /** Bytes that have come, over any connection. */
  get bytes(): number {
    return this.#bytes
  }

  /** Bytes of pieces that were asked for, over any connection, and are still to come. */
  get owed(): number {
    return this.#owed
  }

  /** @param nowMs of a clock that goes on while the machine does */
  came(bytes: number, nowMs: number): void {
    this.#bytes += bytes
    if (this.#owed === 0) return
    this.#lately += bytes
    this.#latelyMs += nowMs - this.#countedMs
    this.#countedMs = nowMs
    if (this.#latelyMs <= 2 * WINDOW_MS) return
    this.#lately *= WINDOW_MS / this.#latelyMs
    this.#latelyMs = WINDOW_MS
  }

  /** So many bytes more are to come; fewer, below 0. Time in which none are says nothing of the link. */
  owe(bytes: number, nowMs: number): void {
    if (this.#owed === 0) this.#countedMs = nowMs
    this.#owed += bytes
  }

  /** How long a parent may be silent that on a fast link may be so for `leastMs`. */
  patienceMs(leastMs: number): number {
    if (this.#lately === 0) return leastMs
    return Math.max(leastMs, Math.min(LONGEST_MS, (LULL_BYTES / this.#lately) * this.#latelyMs))
  }

  /**
   * Whether a connection may be waiting for its turn only: others get bytes, but not yet all that may be before its own.
   * @param heardAt what `bytes` was when the connection last got some
   * @param owedToOthers how much was owed over the other connections then
   * @param quietMs for how long it has got none
   */
  isWaiting(heardAt: number, owedToOthers: number, quietMs: number): boolean {
    const others = this.#bytes - heardAt
    return others > 0 && quietMs < LONGEST_MS && others < Math.max(owedToOthers, TURN_BYTES * this.#busy())
  }
}
