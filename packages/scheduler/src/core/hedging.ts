import { hasBit } from './bitset.ts'
import { Sample } from './choice.ts'
import { giveUpTransfer } from './faults.ts'
import { INJECTS } from './peer-table.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'
import { assign, canSend, freeChildSlot } from './transfers.ts'
import type { Zone } from './zone.ts'

/** Transfers of one piece to one child at once. */
const MOST_COPIES = 3
const HOLDER_SAMPLE = 16

/** Has overdue transfers doubled (SCHEDULING.md, "Hedge"). Its scratch space is used again at every run. */
export class Hedging {
  readonly #state: State
  readonly #sample = new Sample(HOLDER_SAMPLE)

  constructor(state: State) {
    this.#state = state
  }

  /** Whether the swarm has a transfer that may be overdue. */
  isDue(swarm: Swarm): boolean {
    const { flights, pace } = swarm
    if (flights.oldest === -1 || !pace.isKnown) return false
    return this.#state.now - flights.at(flights.oldest) >= pace.overdueMs(swarm.slots, 0)
  }

  /** Doubles what is overdue, where another holder has a slot for it. */
  run(swarm: Swarm): void {
    const { flights, pace } = swarm
    if (!pace.isKnown) return
    const leastMs = pace.overdueMs(swarm.slots, 0)
    for (let flight = flights.oldest; flight !== -1; ) {
      const newer = flights.newerThan(flight)
      if (this.#state.now - flights.at(flight) < leastMs) return
      if (this.#isOverdue(swarm, flight)) this.#hedge(swarm, flight)
      flight = newer
    }
  }

  /** Slow nodes are measured by their own usual time: they are not late. */
  #isOverdue(swarm: Swarm, flight: number): boolean {
    const { flights, peers, pace } = swarm
    const parent = peers.node[flights.parent(flight)] as number
    const child = peers.node[flights.child(flight)] as number
    const usualMs = this.#state.nodes.table.usualMsPerByte(parent, child) * swarm.layout.pieceSize
    return this.#state.now - flights.at(flight) >= pace.overdueMs(swarm.slots, usualMs)
  }

  #hedge(swarm: Swarm, flight: number): void {
    const { flights, peers } = swarm
    const state = this.#state
    const child = flights.child(flight)
    const parent = flights.parent(flight)
    const piece = flights.piece(flight)
    let copies = 0
    for (let other = flights.firstTo(child); other !== -1; other = flights.nextTo(other)) {
      if (flights.piece(other) !== piece) continue
      if (other !== flight && !this.#isOverdue(swarm, other)) return
      copies++
    }
    if (copies >= MOST_COPIES) return
    // What hangs uses none of the child's link: the slot is for the second try.
    freeChildSlot(state, swarm, flight)
    if (!hasBit(swarm.spread, 0, piece)) {
      if (peers.is(parent, INJECTS) && copies === 1) giveUpTransfer(state, swarm, flight)
      return
    }
    const { table } = state.nodes
    if ((peers.downloads[child] as number) >= swarm.slots || !table.asChild.hasFree(peers.node[child] as number)) return
    const home = swarm.zones[peers.zone[child] as number] as Zone
    let holder = this.#idleHolder(swarm, child, piece, home)
    for (const zone of swarm.zones) {
      if (holder === -1 && zone !== home) holder = this.#idleHolder(swarm, child, piece, zone)
    }
    if (holder === -1) holder = this.#idleInjector(swarm, child, piece)
    if (holder !== -1) assign(state, swarm, holder, child, piece)
  }

  /** The least busy of a few ordinary peers of the zone that could send the piece; -1: none. */
  #idleHolder(swarm: Swarm, child: number, piece: number, { senders }: Zone): number {
    const { uploads } = swarm.peers
    this.#sample.draw(senders, this.#state.random)
    let best = -1
    for (let i = 0; i < this.#sample.size; i++) {
      const holder = this.#sample.members[i] as number
      if (best !== -1 && (uploads[holder] as number) >= (uploads[best] as number)) continue
      if (this.#isAnother(swarm, child, piece, holder)) best = holder
    }
    return best
  }

  #idleInjector(swarm: Swarm, child: number, piece: number): number {
    for (const injector of swarm.injectors) {
      if (canSend(this.#state, swarm, injector) && this.#isAnother(swarm, child, piece, injector)) return injector
    }
    return -1
  }

  /** Whether a peer has the piece, and is not one that the child waits for or is to leave alone. */
  #isAnother(swarm: Swarm, child: number, piece: number, holder: number): boolean {
    const { flights, peers, words } = swarm
    if (holder === child || !hasBit(peers.have, holder * words, piece)) return false
    if (flights.find(child, piece, holder) !== -1) return false
    const { avoidance, now } = this.#state
    return !avoidance.isAvoided(peers.node[child] as number, peers.node[holder] as number, now)
  }
}
