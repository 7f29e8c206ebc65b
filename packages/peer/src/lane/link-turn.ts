import type { LinkShare } from './link-share.ts'

/** One connection's part in what comes over the node's link, and how long its parent may be silent for the others' sake. */
export class LinkTurn {
  readonly #share: LinkShare | undefined
  /** Bytes of pieces that the parent is still to send. */
  #owed = 0
  /** When the parent last sent anything, or it was last we who did not read. */
  #heardMs = 0
  /** What had come over all connections then, and what was owed over the others. */
  #heardAt = 0
  #owedByOthers = 0

  /** @param share left out: there is no other connection */
  constructor(share: LinkShare | undefined) {
    this.#share = share
    this.heard()
  }

  /** Bytes came from the parent. */
  came(bytes: number): void {
    this.#share?.came(bytes, performance.now())
    this.heard()
  }

  /** The parent's silence, if it is silent, begins now. */
  heard(): void {
    this.#heardMs = performance.now()
    if (this.#share === undefined) return
    this.#heardAt = this.#share.bytes
    this.#owedByOthers = this.#share.owed - this.#owed
  }

  /** So many bytes more are to come from the parent; fewer, below 0. */
  owe(bytes: number): void {
    this.#owed += bytes
    this.#share?.owe(bytes, performance.now())
  }

  /** Nothing is to come from the parent any more. */
  end(): void {
    this.owe(-this.#owed)
  }

  /** What of a time that is enough on a fast link becomes on this one. */
  patienceMs(ms: number): number {
    return this.#share?.patienceMs(ms) ?? ms
  }

  /** How much longer the parent may send nothing, if since `sinceMs` it may for `ms` on a fast link; 0 or less: no longer. */
  leftQuietMs(sinceMs: number, ms: number): number {
    if (this.isAwaited) return ms
    return Math.max(sinceMs, this.#heardMs) + this.patienceMs(ms) - performance.now()
  }

  /** Whether the node's link may be what keeps the parent's bytes. */
  get isAwaited(): boolean {
    const quietMs = performance.now() - this.#heardMs
    return this.#share?.isWaiting(this.#heardAt, this.#owedByOthers, quietMs) === true
  }
}
