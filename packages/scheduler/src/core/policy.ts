import { choosePiece, isUseful, lowestPiece, Sample, type Scope } from './choice.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'
import { assign, canSend } from './transfers.ts'

const SEED_SAMPLE = 8
const SENDER_SAMPLE = 4
const RECEIVER_SAMPLE = 8
/** An idle child waits so long for copies that are on their way to others. */
const PATIENCE_MS = 1_000

/** Policy F of SCHEDULING.md, run for one swarm in one tick. Its scratch space is used again at every run. */
export class Policy {
  readonly #state: State
  readonly #seedSample = new Sample(SEED_SAMPLE)
  readonly #senderSample = new Sample(SENDER_SAMPLE)
  readonly #receiverSample = new Sample(RECEIVER_SAMPLE)
  #order = new Int32Array(16)

  constructor(state: State) {
    this.#state = state
  }

  /** Assigns what can be assigned. */
  run(swarm: Swarm): void {
    if (swarm.receivers.size === 0) return
    this.#inject(swarm)
    if (swarm.senders.size <= 2 * swarm.receivers.size) this.#send(swarm)
    this.#receive(swarm)
    this.#lastResort(swarm)
  }

  /**
   * Step 2: the sources of first copies bring out pieces of which no ordinary peer has, or is about to have, a copy,
   * lowest index first. Never in the child's order: that was found to cost a third of a copy of egress.
   */
  #inject(swarm: Swarm): void {
    const level0 = swarm.rarity.levels.subarray(0, swarm.words)
    for (const injector of swarm.injectors) {
      while (swarm.receivers.size > 0 && canSend(this.#state, swarm, injector)) {
        this.#seedSample.draw(swarm.receivers, this.#state.random)
        const child = this.#neediest(swarm, injector, this.#seedSample, level0)
        if (child < 0) break
        assign(this.#state, swarm, injector, child, lowestPiece(swarm, injector, child, level0))
      }
    }
  }

  /** Step 3: each sender, in random order and one piece at a time, picks the neediest of a few receivers. */
  #send(swarm: Swarm): void {
    let left = this.#shuffled(swarm.senders)
    while (left > 0) {
      let kept = 0
      for (let i = 0; i < left && swarm.receivers.size > 0; i++) {
        const sender = this.#order[i] as number
        if (!swarm.senders.has(sender)) continue
        this.#senderSample.draw(swarm.receivers, this.#state.random)
        const child = this.#neediest(swarm, sender, this.#senderSample, undefined)
        if (child < 0) continue
        assign(this.#state, swarm, sender, child, choosePiece(this.#state, swarm, sender, child, undefined))
        this.#order[kept++] = sender
      }
      left = swarm.receivers.size > 0 ? kept : 0
    }
  }

  /** Step 4: each receiver that is left asks a few senders, the least busy first. */
  #receive(swarm: Swarm): void {
    if (swarm.senders.size === 0) return
    const count = this.#shuffled(swarm.receivers)
    for (let i = 0; i < count && swarm.senders.size > 0; i++) {
      const child = this.#order[i] as number
      while (swarm.receivers.has(child)) {
        this.#receiverSample.draw(swarm.senders, this.#state.random)
        const parent = this.#leastBusy(swarm, child)
        if (parent < 0) break
        assign(this.#state, swarm, parent, child, choosePiece(this.#state, swarm, parent, child, undefined))
      }
    }
  }

  /**
   * Step 5, strict: an injector sends a second copy only to a child with nothing in flight, one piece at a time, and
   * only of a piece that an ordinary peer holds but could not send just now: a copy still on its way to an ordinary
   * peer is worth waiting for, if not for long. While the origin is still being read, the injectors bring out first
   * copies only: a slow origin leaves children idle, and second copies would not make it faster.
   */
  #lastResort(swarm: Swarm): void {
    if (swarm.receivers.size === 0 || swarm.injectors.length === 0 || swarm.lease !== undefined) return
    for (const injector of swarm.injectors) {
      if (!canSend(this.#state, swarm, injector)) continue
      const count = this.#shuffled(swarm.receivers)
      for (let i = 0; i < count && canSend(this.#state, swarm, injector); i++) {
        const child = this.#order[i] as number
        if (swarm.peers.downloads[child] !== 0) continue
        const isPatient = this.#state.now - (swarm.peers.progressAt[child] as number) < PATIENCE_MS
        const scope = isPatient ? swarm.spread : undefined
        if (!this.#canServe(swarm, injector, child, scope)) continue
        assign(this.#state, swarm, injector, child, choosePiece(this.#state, swarm, injector, child, scope))
      }
    }
  }

  /** Of the sampled children that `parent` can serve, the one with the fewest pieces in flight, then taken; -1: none. */
  #neediest(swarm: Swarm, parent: number, sample: Sample, scope: Scope): number {
    const { downloads, takenCount } = swarm.peers
    let best = -1
    for (let i = 0; i < sample.size; i++) {
      const child = sample.members[i] as number
      if (best >= 0) {
        const more = (downloads[child] as number) - (downloads[best] as number)
        if (more > 0 || (more === 0 && (takenCount[child] as number) >= (takenCount[best] as number))) continue
      }
      if (this.#canServe(swarm, parent, child, scope)) best = child
    }
    return best
  }

  /** Of the sampled senders that can serve `child`, the one with the fewest pieces in flight; -1: none. */
  #leastBusy(swarm: Swarm, child: number): number {
    const { uploads } = swarm.peers
    const sample = this.#receiverSample
    let best = -1
    for (let i = 0; i < sample.size; i++) {
      const parent = sample.members[i] as number
      if (best >= 0 && (uploads[parent] as number) >= (uploads[best] as number)) continue
      if (this.#canServe(swarm, parent, child, undefined)) best = parent
    }
    return best
  }

  #canServe(swarm: Swarm, parent: number, child: number, scope: Scope): boolean {
    if (parent === child || !isUseful(swarm, parent, child, scope)) return false
    const { node } = swarm.peers
    return !this.#state.avoidance.isAvoided(node[child] as number, node[parent] as number, this.#state.now)
  }

  /** The members of a set in random order in `#order`; returns how many. */
  #shuffled(set: { readonly members: Int32Array; readonly size: number }): number {
    const { size } = set
    if (this.#order.length < size) this.#order = new Int32Array(size * 2)
    const order = this.#order
    for (let i = 0; i < size; i++) {
      const other = Math.floor(this.#state.random() * (i + 1))
      order[i] = order[other] as number
      order[other] = set.members[i] as number
    }
    return size
  }
}
