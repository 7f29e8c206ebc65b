import type { Node } from './nodes.ts'
import type { Registries } from './registries.ts'
import type { Swarm } from './swarm.ts'

/** Leases that are carried out at once on the word of one node. Its other blobs wait. */
export const MOST_LEASES_FOR_ONE = 256
/** A node for which so many of the turns are used is served after others: this part of them. */
const SHARE = 1 / 4
/** Nodes that are looked at for the one for which the fewest leases are carried out. */
const MOST_ASKERS = 8

/** What is compared of two swarms that wait for the same turn. */
interface Claim {
  readonly swarm: Swarm
  /** On whose word the lease would be given. */
  readonly asker: Node
  readonly registry: string
}

/**
 * Which swarms may have a lease when there may not be one for all: so many at once, the most urgent first. Of equally
 * urgent ones, who uses the fewest turns goes first: first registries, of which one may hang, then nodes, of which one may
 * ask for anything.
 */
export class LeaseTurns {
  readonly #most: number
  readonly #registries: Registries
  readonly #nodeAt: (index: number) => Node
  readonly #waiting = new Set<Swarm>()
  /** Swarms that wait because of the one node that wants them, though there may be room for others. */
  readonly #held = new Map<Swarm, Node>()
  readonly #heldFor = new Map<Node, Set<Swarm>>()
  #granted = 0
  /** The best of those that wait, since a lease last began or ended: there may be very many. */
  #bestKnown: Claim | undefined
  #isBestKnown = false

  /** @param most leases at once, at least 1; Infinity: no bound */
  constructor(most: number, registries: Registries, nodeAt: (index: number) => Node) {
    this.#most = most
    this.#registries = registries
    this.#nodeAt = nodeAt
  }

  /** Leases that are carried out. */
  get granted(): number {
    return this.#granted
  }

  /** Swarms that would have a lease if there were room for it. */
  get waiting(): number {
    return this.#waiting.size + this.#held.size
  }

  isWaiting(swarm: Swarm): boolean {
    return this.#waiting.has(swarm) || this.#held.has(swarm)
  }

  /** Whether the swarm, which somebody wants, may have a lease now; else it waits until its turn comes, or leaves. */
  isTurnOf(swarm: Swarm): boolean {
    const claim = this.#claimOf(swarm)
    if (claim === undefined) return false
    if (claim.asker.leasesFor >= MOST_LEASES_FOR_ONE) {
      this.leave(swarm)
      this.#hold(swarm, claim.asker)
      return false
    }
    if (this.#granted < this.#most) {
      const best = this.#best
      if (best === undefined || best.swarm === swarm || this.#isBefore(claim, best)) return true
    }
    this.leave(swarm)
    this.#waiting.add(swarm)
    if (this.#isBestKnown && (this.#bestKnown === undefined || this.#isBefore(claim, this.#bestKnown))) {
      this.#bestKnown = claim
    }
    return false
  }

  /** The swarm waits no more: it has its lease, or needs none. */
  leave(swarm: Swarm): void {
    if (this.#bestKnown?.swarm === swarm) this.#isBestKnown = false
    this.#waiting.delete(swarm)
    const asker = this.#held.get(swarm)
    if (asker === undefined) return
    this.#held.delete(swarm)
    const others = this.#heldFor.get(asker)
    others?.delete(swarm)
    if (others?.size === 0) this.#heldFor.delete(asker)
  }

  /** The swarm has a lease now. Returns on whose word. */
  began(swarm: Swarm, registry: string, now: number): Node {
    const asker = this.#claimOf(swarm)?.asker
    if (asker === undefined) throw new RangeError(`nobody wants swarm ${swarm.id}`)
    this.#granted++
    asker.leasesFor++
    this.#registries.began(registry, now)
    this.#isBestKnown = false
    return asker
  }

  /** A lease has ended. Returns the swarms that have their turn by that. */
  ended(asker: Node, registry: string): readonly Swarm[] {
    this.#granted--
    asker.leasesFor--
    this.#registries.ended(registry)
    this.#isBestKnown = false
    const [held] = this.#heldFor.get(asker) ?? []
    return [this.next, held].filter((swarm) => swarm !== undefined)
  }

  /** The swarm whose turn it is; undefined: none waits, or there is no room. */
  get next(): Swarm | undefined {
    return this.#granted < this.#most ? this.#best?.swarm : undefined
  }

  /** Whether the next in turn wants something of another registry than this one. */
  isWantedByOthers(registry: string): boolean {
    if (this.#granted < this.#most) return false
    for (const swarm of this.#waiting) {
      const claim = this.#claimOf(swarm)
      if (claim !== undefined && claim.registry !== registry) return true
    }
    return false
  }

  #hold(swarm: Swarm, asker: Node): void {
    this.#held.set(swarm, asker)
    const others = this.#heldFor.get(asker) ?? new Set()
    this.#heldFor.set(asker, others.add(swarm))
  }

  get #best(): Claim | undefined {
    if (this.#isBestKnown) return this.#bestKnown
    let best: Claim | undefined
    for (const swarm of this.#waiting) {
      const claim = this.#claimOf(swarm)
      if (claim !== undefined && (best === undefined || this.#isBefore(claim, best))) best = claim
    }
    this.#bestKnown = best
    this.#isBestKnown = true
    return best
  }

  #isBefore(a: Claim, b: Claim): boolean {
    const order =
      a.swarm.priority - b.swarm.priority ||
      Number(this.#hasItsShare(a)) - Number(this.#hasItsShare(b)) ||
      this.#registries.compare(a.registry, b.registry) ||
      a.asker.leasesFor - b.asker.leasesFor ||
      this.#registries.compareAge(a.registry, b.registry) ||
      Number(b.swarm.isStarved) - Number(a.swarm.isStarved) ||
      a.swarm.id - b.swarm.id
    return order < 0
  }

  #hasItsShare({ asker }: Claim): boolean {
    return asker.leasesFor >= Math.ceil(this.#most * SHARE)
  }

  /** Undefined: nobody wants the swarm any more. */
  #claimOf(swarm: Swarm): Claim | undefined {
    const source = swarm.sources.first
    if (source === undefined) return undefined
    let asker: Node | undefined
    let count = 0
    for (const peer of source.claimants) {
      const node = this.#nodeAt(swarm.peers.node[peer] as number)
      if (asker === undefined || node.leasesFor < asker.leasesFor) asker = node
      if (++count === MOST_ASKERS) break
    }
    return asker === undefined ? undefined : { swarm, asker, registry: source.origin.registry }
  }
}
