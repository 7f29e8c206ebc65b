import { clearBit } from './bitset.ts'
import { Candidates, Sample, type Scope } from './choice.ts'
import type { IndexedSet } from './indexed-set.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'
import { assign, canSend } from './transfers.ts'
import type { Zone } from './zone.ts'

const SEED_SAMPLE = 8
const SENDER_SAMPLE = 4
const RECEIVER_SAMPLE = 8
/** An idle child waits so long for copies that are on their way to others, and for holders in its zone. */
const PATIENCE_MS = 1_000
/** A child whose other swarms keep its link busy waits so long for holders that can not send just now. */
const BUSY_PATIENCE_MS = 5_000

/** Policy F of SCHEDULING.md, run for one swarm in one tick. Its scratch space is used again at every run. */
export class Policy {
  readonly #state: State
  readonly #seedSample = new Sample(SEED_SAMPLE)
  readonly #senderSample = new Sample(SENDER_SAMPLE)
  readonly #receiverSample = new Sample(RECEIVER_SAMPLE)
  /** Of the pair that was last found to be able. */
  readonly #candidates = new Candidates()
  #order = new Int32Array(16)
  #scope = new Uint32Array(16)

  constructor(state: State) {
    this.#state = state
  }

  /** Assigns what can be assigned. */
  run(swarm: Swarm): void {
    if (swarm.receiverCount === 0) return
    if (swarm.zones.length > 1) this.#crossZones(swarm)
    this.#inject(swarm)
    for (const zone of swarm.zones) {
      if (zone.senders.size <= 2 * zone.receivers.size) this.#send(swarm, zone)
      this.#receive(swarm, zone)
    }
    this.#lastResort(swarm)
  }

  /** Step 1: ordinary peers send a zone, from outside, one copy of each piece that it has none of. */
  #crossZones(swarm: Swarm): void {
    for (const zone of swarm.zones) {
      for (const other of swarm.zones) {
        if (zone.receivers.size === 0 || other === zone || other.senders.size === 0) continue
        if (!this.#setScope(swarm, zone, swarm.spread, 0)) break
        const count = this.#shuffled(other.senders)
        for (let i = 0; i < count; i++) {
          const sender = this.#order[i] as number
          while (zone.receivers.size > 0 && other.senders.has(sender)) {
            this.#senderSample.draw(zone.receivers, this.#state.random)
            if (!this.#sendAbsent(swarm, sender, this.#senderSample)) break
          }
        }
      }
    }
  }

  /**
   * Step 2: the sources of first copies bring out pieces of which no ordinary peer of their zone has, or is about to
   * have, a copy, lowest index first. Never in the child's order: that was found to cost a third of a copy of egress.
   * With nothing left to bring out, or nobody to send it to, they serve the other zones.
   */
  #inject(swarm: Swarm): void {
    const { peers, words } = swarm
    for (const injector of swarm.injectors) {
      const home = swarm.zones[peers.zone[injector] as number] as Zone
      while (home.receivers.size > 0 && canSend(this.#state, swarm, injector)) {
        this.#seedSample.draw(home.receivers, this.#state.random)
        const child = this.#firstHolder(swarm, injector, home.lacking)
        if (child < 0) break
        assign(this.#state, swarm, injector, child, this.#candidates.lowest())
      }
      if (swarm.zones.length === 1 || !canSend(this.#state, swarm, injector)) continue
      if (home.receivers.size > 0 && !isSpread(swarm, home)) continue
      for (const zone of swarm.zones) {
        if (zone === home || !this.#setScope(swarm, zone, peers.have, injector * words)) continue
        while (zone.receivers.size > 0 && canSend(this.#state, swarm, injector)) {
          this.#seedSample.draw(zone.receivers, this.#state.random)
          if (!this.#sendAbsent(swarm, injector, this.#seedSample)) break
        }
      }
    }
  }

  /** Step 3: each sender, in random order and one piece at a time, picks the neediest of a few receivers. */
  #send(swarm: Swarm, { senders, receivers }: Zone): void {
    let left = this.#shuffled(senders)
    while (left > 0) {
      let kept = 0
      for (let i = 0; i < left && receivers.size > 0; i++) {
        const sender = this.#order[i] as number
        if (!senders.has(sender)) continue
        this.#senderSample.draw(receivers, this.#state.random)
        const child = this.#neediest(swarm, sender, this.#senderSample, undefined)
        if (child < 0) continue
        assign(this.#state, swarm, sender, child, this.#candidates.choose(this.#state, swarm, child))
        this.#order[kept++] = sender
      }
      left = receivers.size > 0 ? kept : 0
    }
  }

  /** Step 4: each receiver that is left asks a few senders, the least busy first. */
  #receive(swarm: Swarm, { senders, receivers }: Zone): void {
    if (senders.size === 0) return
    const count = this.#shuffled(receivers)
    for (let i = 0; i < count && senders.size > 0; i++) {
      const child = this.#order[i] as number
      while (receivers.has(child) && this.#fetch(swarm, child, senders)) {}
    }
  }

  /**
   * Step 5, strict: an injector sends a second copy only to a child with nothing in flight, one piece at a time, and
   * only of a piece that an ordinary peer holds but could not send just now: a copy still on its way to an ordinary
   * peer is worth waiting for, if not for long. A child that has something in flight in another swarm, as with an
   * image's layers, is not idle: a second copy would take the place of a first one, for which all wait, and save nobody
   * anything. While the origin is still being read, the injectors bring out first copies only: a slow origin leaves
   * children idle, and second copies would not make it faster. A child that has nothing in flight, and has got nothing
   * from its own zone for so long, is served from any.
   */
  #lastResort(swarm: Swarm): void {
    const { asChild } = this.#state.nodes.table
    for (const zone of swarm.zones) {
      if (zone.receivers.size === 0) continue
      if (swarm.injectors.length === 0 && swarm.zones.length === 1) continue
      const count = this.#shuffled(zone.receivers)
      for (let i = 0; i < count; i++) {
        const child = this.#order[i] as number
        if (swarm.peers.downloads[child] !== 0) continue
        const waitedMs = this.#state.now - (swarm.peers.progressAt[child] as number)
        const isInNeed = waitedMs >= BUSY_PATIENCE_MS || asChild.isIdle(swarm.peers.node[child] as number)
        if (swarm.lease === undefined && isInNeed) this.#rescue(swarm, zone, child, waitedMs < PATIENCE_MS)
        if (this.#state.now - (swarm.peers.nearAt[child] as number) < PATIENCE_MS) continue
        for (const other of swarm.zones) {
          if (other !== zone && swarm.peers.downloads[child] === 0) this.#fetch(swarm, child, other.senders)
        }
      }
    }
  }

  #rescue(swarm: Swarm, zone: Zone, child: number, isPatient: boolean): void {
    for (const injector of swarm.injectors) {
      const home = swarm.zones[swarm.peers.zone[injector] as number]
      if (isPatient && home !== zone) continue
      if (!canSend(this.#state, swarm, injector)) continue
      const scope = isPatient ? swarm.spread : undefined
      if (!this.#canServe(swarm, injector, child, scope)) continue
      assign(this.#state, swarm, injector, child, this.#candidates.choose(this.#state, swarm, child))
      return
    }
  }

  /** Has the least busy of a few senders that can serve `child` send it a piece; returns whether there was one. */
  #fetch(swarm: Swarm, child: number, senders: IndexedSet): boolean {
    if (senders.size === 0) return false
    this.#receiverSample.draw(senders, this.#state.random)
    const parent = this.#leastBusy(swarm, child)
    if (parent < 0) return false
    assign(this.#state, swarm, parent, child, this.#candidates.choose(this.#state, swarm, child))
    return true
  }

  /** Sends a piece of `#scope` to the neediest of the sampled children; returns whether there was one. */
  #sendAbsent(swarm: Swarm, parent: number, sample: Sample): boolean {
    const scope = this.#scope
    const child = this.#neediest(swarm, parent, sample, scope)
    if (child < 0) return false
    const piece = this.#candidates.lowest()
    assign(this.#state, swarm, parent, child, piece)
    clearBit(scope, 0, piece)
    return true
  }

  /** Makes `#scope` the pieces that may come to the zone from outside and are in `offered`; returns whether any are. */
  #setScope(swarm: Swarm, zone: Zone, offered: Uint32Array, base: number): boolean {
    if (this.#scope.length < swarm.words) this.#scope = new Uint32Array(swarm.words)
    let some = 0
    for (let at = 0; at < swarm.words; at++) {
      const word = zone.absentWord(at) & (offered[base + at] as number)
      this.#scope[at] = word
      some |= word
    }
    return some !== 0
  }

  /** The neediest of the sampled children, a slow one only if there is no other: all others wait for first copies. */
  #firstHolder(swarm: Swarm, injector: number, scope: Scope): number {
    const { asChild } = this.#state.nodes.table
    const sample = this.#seedSample
    const all = sample.size
    let fast = 0
    for (let i = 0; i < all; i++) {
      const child = sample.members[i] as number
      if (asChild.isReduced(swarm.peers.node[child] as number)) continue
      sample.members[i] = sample.members[fast] as number
      sample.members[fast++] = child
    }
    sample.size = fast
    const child = this.#neediest(swarm, injector, sample, scope)
    if (child >= 0) return child
    sample.members.copyWithin(0, fast, all)
    sample.size = all - fast
    return this.#neediest(swarm, injector, sample, scope)
  }

  /**
   * Of the sampled children that `parent` can serve, the one with the fewest pieces in flight, then the one in the same
   * rack, then the one with the fewest pieces taken; -1: none. Whether it can be served is asked last: that costs most.
   */
  #neediest(swarm: Swarm, parent: number, sample: Sample, scope: Scope): number {
    for (let left = sample.size; left > 0; left--) {
      let best = 0
      for (let i = 1; i < left; i++) if (this.#isNeedier(swarm, parent, sample, i, best)) best = i
      const child = sample.members[best] as number
      if (this.#canServe(swarm, parent, child, scope)) return child
      sample.drop(best, left)
    }
    return -1
  }

  #isNeedier(swarm: Swarm, parent: number, sample: Sample, at: number, than: number): boolean {
    const { downloads, rack, takenCount, hasRacks } = swarm.peers
    const child = sample.members[at] as number
    const other = sample.members[than] as number
    const more = (downloads[child] as number) - (downloads[other] as number)
    if (more !== 0) return more < 0
    if (hasRacks) {
      const home = rack[parent] as number
      if (home >= 0 && (rack[child] === home) !== (rack[other] === home)) return rack[child] === home
    }
    return (takenCount[child] as number) < (takenCount[other] as number)
  }

  /**
   * Of the sampled senders that can serve `child`, the one with the fewest pieces in flight; -1: none. Mostly there is
   * none, so they are not put into order first.
   */
  #leastBusy(swarm: Swarm, child: number): number {
    const { uploads } = swarm.peers
    const { members, size } = this.#receiverSample
    let best = -1
    let loaded = -1
    for (let i = 0; i < size; i++) {
      const parent = members[i] as number
      if (best !== -1 && (uploads[parent] as number) >= (uploads[best] as number)) continue
      loaded = parent
      if (this.#canServe(swarm, parent, child, undefined)) best = parent
    }
    if (best !== loaded && best !== -1) this.#canServe(swarm, best, child, undefined)
    return best
  }

  /** Fills `#candidates`. */
  #canServe(swarm: Swarm, parent: number, child: number, scope: Scope): boolean {
    if (parent === child || !this.#candidates.load(swarm, parent, child, scope)) return false
    const { node } = swarm.peers
    return !this.#state.avoidance.isAvoided(node[child] as number, node[parent] as number, this.#state.now)
  }

  /** The members of a set in random order in `#order`; returns how many. */
  #shuffled(set: { readonly members: Int32Array; readonly size: number }): number {
    const { size } = set
    if (this.#order.length < size) this.#order = new Int32Array(size * 2)
    const order = this.#order
    for (let i = 0; i < size; i++) {
      const other = this.#state.random.below(i + 1)
      order[i] = order[other] as number
      order[other] = set.members[i] as number
    }
    return size
  }
}

/** Whether the ordinary peers of the zone have, or are about to have, every piece. */
function isSpread(swarm: Swarm, zone: Zone): boolean {
  for (let at = 0; at < swarm.words; at++) if (zone.lacking[at] !== 0) return false
  return true
}
