/** Zones that are told apart; nodes of further ones count as of one more, without a name. */
const MOST_ZONES = 256
const OTHERS = '(others)'

/** A zone, by the nodes' labels. */
export interface Zone {
  /** Empty: nodes that name none. */
  readonly name: string
  nodes: number
  /** Bytes of pieces that came in from, and went out to, other zones. */
  bytesIn: number
  bytesOut: number
}

/** The zones that nodes named, with what crossed their borders. */
export class Zones {
  readonly #byName = new Map<string, Zone>()
  readonly #byNode: (Zone | undefined)[] = []

  get all(): Iterable<Readonly<Zone>> {
    return this.#byName.values()
  }

  /** Zones with a live node. */
  get live(): number {
    let live = 0
    for (const zone of this.#byName.values()) if (zone.nodes > 0) live++
    return live
  }

  nodeUp(index: number, name: string): void {
    const zone = this.#zone(name)
    zone.nodes++
    this.#byNode[index] = zone
  }

  nodeDown(index: number): void {
    const zone = this.#byNode[index]
    if (zone !== undefined) zone.nodes--
    this.#byNode[index] = undefined
  }

  /** Counts bytes from one node to another; returns whether they crossed a border. */
  moved(parent: number, child: number, bytes: number): boolean {
    const [from, to] = [this.#byNode[parent], this.#byNode[child]]
    if (from === to || from === undefined || to === undefined) return false
    from.bytesOut += bytes
    to.bytesIn += bytes
    return true
  }

  #zone(name: string): Zone {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    if (this.#byName.size >= MOST_ZONES && name !== OTHERS) return this.#zone(OTHERS)
    const zone = { name, nodes: 0, bytesIn: 0, bytesOut: 0 }
    this.#byName.set(name, zone)
    return zone
  }
}
