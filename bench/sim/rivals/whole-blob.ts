import type { Policy, World } from '../world.ts'

/** C, Spegel-like: the whole blob from a node that has it whole, else from the origin (the seed). */
export class WholeBlob implements Policy {
  readonly notice = -1
  readonly nextAt = Number.POSITIVE_INFINITY
  readonly #world: World
  readonly #finished: number[] = []

  constructor(world: World) {
    this.#world = world
  }

  slotsOf(): number {
    return Number.POSITIVE_INFINITY
  }

  arrived(node: number): void {
    const { random, scenario, tally } = this.#world
    const live = this.#finished.filter((holder) => tally.isHere[holder] === 1)
    const parent = live[Math.floor(random() * live.length)] ?? scenario.nodes
    this.#world.request(node, parent, -1, this.#world.jittered(2 * scenario.latency))
  }

  done(transfer: number): void {
    this.#finished.push(this.#world.childOf[transfer] as number)
  }

  ending(): void {}

  missed(node: number): void {
    const { childOf, parentOf, tally } = this.#world
    const orphans: number[] = []
    this.#world.cancelWhere((transfer) => {
      if (parentOf[transfer] === node) orphans.push(childOf[transfer] as number)
      return parentOf[transfer] === node || childOf[transfer] === node
    })
    for (const child of orphans) if (tally.isHere[child] === 1) this.arrived(child)
  }

  tick(): void {}
}
