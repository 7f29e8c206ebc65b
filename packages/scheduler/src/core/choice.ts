import { firstClear, lowestBit } from './bitset.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'

/** Chance that a child gets the next piece in order instead of the rarest (`q` of SCHEDULING.md). */
const IN_ORDER_SHARE = 0.25
/** How far past the child's prefix a piece still counts as next in order. */
const IN_ORDER_WINDOW = 32

/** Which pieces a step may hand out: any, those of level 0, or those that some ordinary peer holds. */
export type Scope = Uint32Array | undefined

/** Whether `parent` has a piece of known sha256 in `scope` that `child` neither has nor waits for. */
export function isUseful(swarm: Swarm, parent: number, child: number, scope: Scope): boolean {
  return lowestPiece(swarm, parent, child, scope) >= 0
}

/** The lowest-index useful piece; -1 when there is none. */
export function lowestPiece(swarm: Swarm, parent: number, child: number, scope: Scope): number {
  const { words, known } = swarm
  const { have, taken } = swarm.peers
  const p = parent * words
  const c = child * words
  for (let at = 0; at < words; at++) {
    let word = (have[p + at] as number) & ~(taken[c + at] as number) & (known[at] as number)
    if (scope !== undefined) word &= scope[at] as number
    if (word !== 0) return (at << 5) + lowestBit(word)
  }
  return -1
}

/**
 * The piece that a sender gives to a child: now and then the next in order, so that a reader of the blob's head is
 * served early; else the lowest-index one of the rarest level. -1 when none is useful.
 */
export function choosePiece(state: State, swarm: Swarm, parent: number, child: number, scope: Scope): number {
  const { words, known, rarity } = swarm
  const { have, taken } = swarm.peers
  const p = parent * words
  const c = child * words
  if (state.random() < IN_ORDER_SHARE) {
    const lowest = lowestPiece(swarm, parent, child, scope)
    if (lowest < 0) return -1
    if (lowest - firstClear(have, c, swarm.pieces) < IN_ORDER_WINDOW) return lowest
  }
  const { levels, highest } = rarity
  for (let level = 0; level <= highest; level++) {
    const l = level * words
    for (let at = 0; at < words; at++) {
      let word =
        (levels[l + at] as number) & (have[p + at] as number) & ~(taken[c + at] as number) & (known[at] as number)
      if (scope !== undefined) word &= scope[at] as number
      if (word !== 0) return (at << 5) + lowestBit(word)
    }
  }
  return -1
}

/** A few members of a set, chosen at random: all of them (from a random one on) when there are no more than asked for. */
export class Sample {
  readonly members: Int32Array
  size = 0

  constructor(most: number) {
    this.members = new Int32Array(most)
  }

  draw(from: { readonly members: Int32Array; readonly size: number }, random: () => number): void {
    const { size } = from
    const isAll = size <= this.members.length
    this.size = isAll ? size : this.members.length
    const start = isAll ? Math.floor(random() * size) : 0
    for (let i = 0; i < this.size; i++) {
      const at = isAll ? (start + i) % size : Math.floor(random() * size)
      this.members[i] = from.members[at] as number
    }
  }

  /** Takes the member at a place out of the first `of`, the others of which keep their order. */
  drop(at: number, of: number): void {
    const { members } = this
    for (let i = at + 1; i < of; i++) members[i - 1] = members[i] as number
  }
}
