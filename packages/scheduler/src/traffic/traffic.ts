import { ORIGIN } from '../core/events.ts'
import type { Swarm } from '../core/swarm.ts'
import { Rates } from './rates.ts'
import { Zones } from './zones.ts'

/** Place of the sum over all nodes. */
const ALL = 0

/** What flows between nodes, as they report it: for people to look at, nothing is decided by it. */
export class Traffic {
  readonly zones = new Zones()
  /** Bytes of pieces that came from a node of another zone. */
  crossZoneBytes = 0
  readonly #now: () => number
  readonly #up = new Rates()
  readonly #down = new Rates()
  readonly #total = new Rates()
  readonly #bySwarm = new WeakMap<Swarm, { crossZoneBytes: number; readonly rate: Rates }>()

  /** @param now milliseconds from any start, never less than before */
  constructor(now: () => number) {
    this.#now = now
  }

  /** A node came up with this index. @param zone its label; empty: it names none */
  nodeUp(index: number, zone: string): void {
    this.#up.reset(index)
    this.#down.reset(index)
    this.zones.nodeUp(index, zone)
  }

  nodeDown(index: number): void {
    this.zones.nodeDown(index)
  }

  /**
   * A node has a piece more.
   * @param parent index of the node that sent it, or ORIGIN
   * @param now on this one's clock, never less than before: asking a clock for each piece would cost more than the rest
   */
  arrived(swarm: Swarm, child: number, parent: number, bytes: number, now: number): void {
    const entry = this.#entry(swarm)
    this.#down.add(child, bytes, now)
    this.#total.add(ALL, bytes, now)
    entry.rate.add(ALL, bytes, now)
    if (parent === ORIGIN) return
    this.#up.add(parent, bytes, now)
    if (!this.zones.moved(parent, child, bytes)) return
    this.crossZoneBytes += bytes
    entry.crossZoneBytes += bytes
  }

  /** Bytes per second over the last seconds that nodes received, from each other and from origins. */
  get bytesPerSecond(): number {
    return this.#total.perSecond(ALL, this.#now())
  }

  /** The same for one node, to and from it. */
  ofNode(index: number): { up: number; down: number } {
    const now = this.#now()
    return { up: this.#up.perSecond(index, now), down: this.#down.perSecond(index, now) }
  }

  /** The same for one swarm, and what crossed zones in it. */
  ofSwarm(swarm: Swarm): { bytesPerSecond: number; crossZoneBytes: number } {
    const entry = this.#bySwarm.get(swarm)
    if (entry === undefined) return { bytesPerSecond: 0, crossZoneBytes: 0 }
    return { bytesPerSecond: entry.rate.perSecond(ALL, this.#now()), crossZoneBytes: entry.crossZoneBytes }
  }

  #entry(swarm: Swarm) {
    let entry = this.#bySwarm.get(swarm)
    if (entry === undefined) {
      entry = { crossZoneBytes: 0, rate: new Rates() }
      this.#bySwarm.set(swarm, entry)
    }
    return entry
  }
}
