import type { Policy, World } from '../world.ts'

const PARENTS = 3
const CANDIDATES = 15

/**
 * A, Dragonfly-like: each node gets three parents, the best (those with most pieces, so the seed where it is among
 * them) of 15 random nodes that came before it, for good; it asks each parent for one piece at a time, in ascending
 * order. A parent serves all who ask.
 */
export class DragonflyLike implements Policy {
  readonly notice = -1
  readonly nextAt = Number.POSITIVE_INFINITY
  readonly #world: World
  readonly #present: number[]
  readonly #parentsOf = new Map<number, number[]>()
  readonly #childrenOf = new Map<number, number[]>()
  /** Pieces asked for, as `have`; requests in flight, by `child * (nodes + 1) + parent`. */
  readonly #asked: Uint32Array
  readonly #busy = new Set<number>()

  constructor(world: World) {
    this.#world = world
    this.#present = [world.scenario.nodes]
    this.#asked = new Uint32Array(world.tally.have.length)
  }

  slotsOf(): number {
    return Number.POSITIVE_INFINITY
  }

  arrived(node: number): void {
    this.#adopt(node)
    this.#present.push(node)
    for (const parent of this.#parentsOf.get(node) ?? []) this.#ask(node, parent)
  }

  done(transfer: number): void {
    const child = this.#world.childOf[transfer] as number
    const parent = this.#world.parentOf[transfer] as number
    this.#busy.delete(this.#pair(child, parent))
    this.#ask(child, parent)
    for (const grandchild of this.#childrenOf.get(child) ?? []) this.#ask(grandchild, child)
  }

  ending(): void {}

  missed(node: number): void {
    const { childOf, parentOf, pieceOf, tally } = this.#world
    this.#present.splice(this.#present.indexOf(node), 1)
    this.#world.cancelWhere((transfer) => {
      const child = childOf[transfer] as number
      if (child !== node && parentOf[transfer] !== node) return false
      const piece = pieceOf[transfer] as number
      const word = child * tally.words + (piece >>> 5)
      this.#asked[word] = (this.#asked[word] as number) & ~(1 << (piece & 31))
      this.#busy.delete(this.#pair(child, parentOf[transfer] as number))
      return true
    })
    for (const child of this.#childrenOf.get(node) ?? []) {
      if (tally.isHere[child] === 0) continue
      this.#parentsOf.set(child, [this.#world.scenario.nodes])
      this.#childrenOf.get(this.#world.scenario.nodes)?.push(child)
      this.#ask(child, this.#world.scenario.nodes)
    }
    this.#childrenOf.delete(node)
  }

  tick(): void {}

  #adopt(node: number): void {
    const { random, tally } = this.#world
    const candidates = new Set<number>()
    const wanted = Math.min(CANDIDATES, this.#present.length)
    while (candidates.size < wanted) {
      candidates.add(this.#present[Math.floor(random() * this.#present.length)] as number)
    }
    const held = (holder: number) => tally.haveCount[holder] as number
    const parents = [...candidates].sort((a, b) => held(b) - held(a)).slice(0, PARENTS)
    this.#parentsOf.set(node, parents)
    for (const parent of parents) {
      const children = this.#childrenOf.get(parent)
      if (children === undefined) this.#childrenOf.set(parent, [node])
      else children.push(node)
    }
  }

  /** Asks for the first piece that the parent has and that nobody was asked for. */
  #ask(child: number, parent: number): void {
    const { tally, scenario } = this.#world
    const pair = this.#pair(child, parent)
    if (this.#busy.has(pair) || this.#parentsOf.get(child)?.includes(parent) !== true) return
    for (let at = 0; at < tally.words; at++) {
      const word = child * tally.words + at
      const open = (tally.have[parent * tally.words + at] as number) & ~(this.#asked[word] as number)
      if (open === 0) continue
      const bit = open & -open
      this.#asked[word] = (this.#asked[word] as number) | bit
      this.#busy.add(pair)
      this.#world.request(child, parent, at * 32 + 31 - Math.clz32(bit), this.#world.jittered(2 * scenario.latency))
      return
    }
  }

  #pair(child: number, parent: number): number {
    return child * (this.#world.scenario.nodes + 1) + parent
  }
}
