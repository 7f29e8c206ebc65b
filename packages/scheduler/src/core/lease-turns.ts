import { byUrgency, type Swarm } from './swarm.ts'

/** Which swarms may have a lease when there may not be one for all: so many at once, the most urgent first. */
export class LeaseTurns {
  readonly #most: number
  readonly #waiting = new Set<Swarm>()
  #granted = 0

  /** @param most leases at once, at least 1; Infinity: no bound */
  constructor(most: number) {
    this.#most = most
  }

  /** Leases that are carried out. */
  get granted(): number {
    return this.#granted
  }

  /** Swarms that would have a lease if there were room for it. */
  get waiting(): number {
    return this.#waiting.size
  }

  isWaiting(swarm: Swarm): boolean {
    return this.#waiting.has(swarm)
  }

  /** Whether the swarm may have a lease now; else it waits until it is `next`, or leaves. */
  isTurnOf(swarm: Swarm): boolean {
    if (this.#granted < this.#most) {
      const next = this.next
      if (next === undefined || next === swarm || byUrgency(swarm, next) < 0) return true
    }
    this.#waiting.add(swarm)
    return false
  }

  /** The swarm waits no more: it has its lease, or needs none. */
  leave(swarm: Swarm): void {
    this.#waiting.delete(swarm)
  }

  began(): void {
    this.#granted++
  }

  ended(): void {
    this.#granted--
  }

  /** The swarm whose turn it is; undefined: none waits, or there is no room. */
  get next(): Swarm | undefined {
    if (this.#waiting.size === 0 || this.#granted >= this.#most) return undefined
    let best: Swarm | undefined
    for (const swarm of this.#waiting) if (best === undefined || byUrgency(swarm, best) < 0) best = swarm
    return best
  }
}
