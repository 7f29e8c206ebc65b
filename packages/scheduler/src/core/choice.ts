import { firstClear, lowestBit } from './bitset.ts'
import type { Random } from './random.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'

/** Chance that a child gets the next piece in order instead of the rarest (`q` of SCHEDULING.md). */
const IN_ORDER_SHARE = 0.25
/** How far past the child's prefix a piece still counts as next in order. */
const IN_ORDER_WINDOW = 32

/** Which pieces a step may hand out: any, those of level 0, or those that some ordinary peer holds. */
export type Scope = Uint32Array | undefined

/** Pieces that one peer could send another. The same object is filled again for the next pair. */
export class Candidates {
  #words = new Uint32Array(16)
  /** The first word with a piece, and the word after the last that may have one. */
  #from = 0
  #to = 0

  /**
   * Makes it the pieces of known sha256 in `scope` that `parent` has and `child` neither has nor waits for; returns
   * whether there are any. Most pairs that are tried have none, most of them because the child has taken all pieces up
   * to the last that the parent has: that is asked first.
   */
  load(swarm: Swarm, parent: number, child: number, scope: Scope): boolean {
    const { known, words } = swarm
    const { have, taken, lastHave, firstOpen } = swarm.peers
    const last = lastHave[parent] as number
    const first = firstOpen[child] as number
    if (last < first) return false
    const to = (last >>> 5) + 1
    const p = parent * words
    const c = child * words
    let at = first >>> 5
    while (at < to && ((have[p + at] as number) & ~(taken[c + at] as number) & (known[at] as number)) === 0) at++
    if (at === to) return false
    if (this.#words.length < words) this.#words = new Uint32Array(words)
    this.#to = to
    this.#from = at
    for (; at < to; at++) {
      this.#words[at] = (have[p + at] as number) & ~(taken[c + at] as number) & (known[at] as number)
    }
    return scope === undefined || this.#narrow(scope)
  }

  #narrow(scope: Uint32Array): boolean {
    for (let at = this.#from; at < this.#to; at++) {
      this.#words[at] = (this.#words[at] as number) & (scope[at] as number)
    }
    while (this.#from < this.#to && this.#words[this.#from] === 0) this.#from++
    return this.#from < this.#to
  }

  /** The one of lowest index. There must be one. */
  lowest(): number {
    return (this.#from << 5) + lowestBit(this.#words[this.#from] as number)
  }

  /**
   * The one that the child is to get: now and then the next in order, so that a reader of the blob's head is served
   * early; else the lowest-index one of the rarest level. There must be one.
   */
  choose(state: State, swarm: Swarm, child: number): number {
    const { words, rarity } = swarm
    if (state.random.hits(IN_ORDER_SHARE)) {
      const lowest = this.lowest()
      if (lowest - firstClear(swarm.peers.have, child * words, swarm.pieces) < IN_ORDER_WINDOW) return lowest
    }
    const { levels, sizes } = rarity
    const from = this.#from
    const to = this.#to
    for (let level = 0, base = 0; level < sizes.length; level++, base += words) {
      if (sizes[level] === 0) continue
      for (let at = from; at < to; at++) {
        const word = (levels[base + at] as number) & (this.#words[at] as number)
        if (word !== 0) return (at << 5) + lowestBit(word)
      }
    }
    throw new RangeError('there is no candidate to choose')
  }
}

/** A few members of a set, chosen at random: all of them (from a random one on) when there are no more than asked for. */
export class Sample {
  readonly members: Int32Array
  size = 0

  constructor(most: number) {
    this.members = new Int32Array(most)
  }

  draw(from: { readonly members: Int32Array; readonly size: number }, random: Random): void {
    const { size } = from
    const isAll = size <= this.members.length
    this.size = isAll ? size : this.members.length
    const start = isAll ? random.below(size) : 0
    for (let i = 0; i < this.size; i++) {
      const at = isAll ? (start + i) % size : random.below(size)
      this.members[i] = from.members[at] as number
    }
  }

  /** Takes the member at a place out of the first `of`, the others of which keep their order. */
  drop(at: number, of: number): void {
    const { members } = this
    for (let i = at + 1; i < of; i++) members[i - 1] = members[i] as number
  }
}
