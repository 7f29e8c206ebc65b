/** Indexes of nodes stay below: two fit into one exact number. */
const NODES = 2 ** 24

/** Which child is not to fetch from which parent, and until when: short after a failure, long after wrong bytes. */
export class Avoidance {
  readonly #until = new Map<number, number>()

  avoid(child: number, parent: number, until: number): void {
    const key = child * NODES + parent
    this.#until.set(key, Math.max(until, this.#until.get(key) ?? 0))
  }

  isAvoided(child: number, parent: number, now: number): boolean {
    if (this.#until.size === 0) return false
    const until = this.#until.get(child * NODES + parent)
    return until !== undefined && until > now
  }

  /** Drops what is over. */
  sweep(now: number): void {
    for (const [key, until] of this.#until) if (until <= now) this.#until.delete(key)
  }

  /** The node's index will be another's. */
  forget(node: number): void {
    for (const key of this.#until.keys()) {
      if (key % NODES === node || Math.floor(key / NODES) === node) this.#until.delete(key)
    }
  }
}
