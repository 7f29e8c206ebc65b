/** On a slow link each connection gets so many bytes while the others wait: TCP sends in bursts. */
const TURN_BYTES = 64 * 1024
/** However slow the link, a parent is silent after so many times the usual patience. */
const LONGEST = 5

/**
 * What comes to one thread over all its connections. When the link is slow, each of them is still for longer than a
 * parent on a fast one may be: that is no reason to give a piece up, of which each byte took its time.
 */
export class LinkShare {
  readonly #busy: () => number
  #bytes = 0

  /** @param busy how many connections wait for bytes */
  constructor(busy: () => number) {
    this.#busy = busy
  }

  /** Bytes that have come, over any connection. */
  get bytes(): number {
    return this.#bytes
  }

  came(bytes: number): void {
    this.#bytes += bytes
  }

  /**
   * Whether a connection may be waiting for its turn only: others get bytes, but not yet a turn each.
   * @param heardAt what `bytes` was when the connection last got some
   * @param quietMs for how long it has got none
   * @param patienceMs how long a parent may be silent on a fast link
   */
  isWaiting(heardAt: number, quietMs: number, patienceMs: number): boolean {
    const others = this.#bytes - heardAt
    return others > 0 && quietMs < LONGEST * patienceMs && others < TURN_BYTES * this.#busy()
  }
}
