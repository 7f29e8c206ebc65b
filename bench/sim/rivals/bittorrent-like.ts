import type { Policy, World } from '../world.ts'

const OUTGOING = 5
const MOST_NEIGHBOURS = 14
const PIPELINE = 3

/** Requests of one node to one neighbour: one flows, the others wait behind it. */
interface Connection {
  readonly peer: number
  readonly waiting: number[]
  flowing: number
}

/**
 * B, BitTorrent- and Kraken-like: each node opens five connections to random nodes (so has about ten) and asks each
 * neighbour for up to three pieces ahead, those first that fewest of its neighbours have. A connection sends one piece
 * at a time. Nodes know at once what their neighbours have.
 */
export class BitTorrentLike implements Policy {
  readonly notice = -1
  readonly nextAt = Number.POSITIVE_INFINITY
  readonly #world: World
  readonly #present: number[]
  readonly #connections = new Map<number, Connection[]>()
  /** How many neighbours of each node have each piece. */
  readonly #copies: Int16Array
  readonly #asked: Uint32Array

  constructor(world: World) {
    const { nodes, pieces } = world.scenario
    this.#world = world
    this.#present = [nodes]
    this.#connections.set(nodes, [])
    this.#copies = new Int16Array((nodes + 1) * pieces)
    this.#asked = new Uint32Array(world.tally.have.length)
  }

  slotsOf(): number {
    return Number.POSITIVE_INFINITY
  }

  arrived(node: number): void {
    this.#connections.set(node, [])
    this.#meet(node, OUTGOING)
    this.#present.push(node)
  }

  done(transfer: number): void {
    const { childOf, parentOf, pieceOf } = this.#world
    const child = childOf[transfer] as number
    const piece = pieceOf[transfer] as number
    const connection = this.#of(child).find((one) => one.peer === parentOf[transfer])
    if (connection !== undefined) {
      connection.flowing = -1
      this.#ask(child, connection)
    }
    for (const { peer } of this.#of(child)) {
      this.#count(peer, piece, 1)
      const back = this.#of(peer).find((one) => one.peer === child)
      if (back !== undefined) this.#ask(peer, back)
    }
  }

  ending(): void {}

  missed(node: number): void {
    const { childOf, parentOf, scenario, tally } = this.#world
    this.#present.splice(this.#present.indexOf(node), 1)
    this.#world.cancelWhere((transfer) => childOf[transfer] === node || parentOf[transfer] === node)
    for (const { peer } of this.#of(node)) {
      const connections = this.#of(peer)
      const broken = connections.findIndex((one) => one.peer === node)
      const [connection] = connections.splice(broken, 1)
      for (const piece of [...(connection?.waiting ?? []), connection?.flowing ?? -1]) {
        if (piece >= 0) this.#setAsked(peer, piece, false)
      }
      for (let piece = 0; piece < scenario.pieces; piece++) if (tally.has(node, piece)) this.#count(peer, piece, -1)
      if (tally.isHere[peer] === 1) this.#meet(peer, 1)
      for (const one of this.#of(peer)) this.#ask(peer, one)
    }
    this.#connections.set(node, [])
  }

  tick(): void {}

  #meet(node: number, count: number): void {
    const { random, scenario, tally } = this.#world
    let met = 0
    for (let tries = 0; tries < 20 * count && met < count; tries++) {
      const other = this.#present[Math.floor(random() * this.#present.length)] as number
      const theirs = this.#of(other)
      if (other === node || theirs.length >= MOST_NEIGHBOURS || theirs.some((one) => one.peer === node)) continue
      met++
      const there: Connection = { peer: other, waiting: [], flowing: -1 }
      const back: Connection = { peer: node, waiting: [], flowing: -1 }
      this.#of(node).push(there)
      theirs.push(back)
      for (let piece = 0; piece < scenario.pieces; piece++) {
        if (tally.has(other, piece)) this.#count(node, piece, 1)
        if (tally.has(node, piece)) this.#count(other, piece, 1)
      }
      this.#ask(node, there)
      this.#ask(other, back)
    }
  }

  #ask(child: number, connection: Connection): void {
    // What waits was asked for earlier: its request is there by now.
    const delay = connection.waiting.length > 0 ? 0 : this.#world.jittered(2 * this.#world.scenario.latency)
    while (connection.waiting.length + (connection.flowing >= 0 ? 1 : 0) < PIPELINE) {
      const piece = this.#rarest(child, connection.peer)
      if (piece < 0) break
      this.#setAsked(child, piece, true)
      connection.waiting.push(piece)
    }
    if (connection.flowing >= 0) return
    const piece = connection.waiting.shift()
    if (piece === undefined) return
    connection.flowing = piece
    this.#world.request(child, connection.peer, piece, delay)
  }

  /** The piece that the neighbour has and that fewest neighbours have, ties at random; -1: none. */
  #rarest(child: number, parent: number): number {
    const { random, scenario, tally } = this.#world
    let best = -1
    let copies = 0
    let ties = 0
    for (let at = 0; at < tally.words; at++) {
      const have = tally.have[parent * tally.words + at] as number
      for (let open = have & ~(this.#asked[child * tally.words + at] as number); open !== 0; open &= open - 1) {
        const piece = at * 32 + 31 - Math.clz32(open & -open)
        const found = this.#copies[child * scenario.pieces + piece] as number
        if (best >= 0 && found > copies) continue
        if (best < 0 || found < copies) ties = 0
        if (random() * ++ties >= 1) continue
        best = piece
        copies = found
      }
    }
    return best
  }

  #of(node: number): Connection[] {
    return this.#connections.get(node) ?? []
  }

  #count(node: number, piece: number, change: number): void {
    const at = node * this.#world.scenario.pieces + piece
    this.#copies[at] = (this.#copies[at] as number) + change
  }

  #setAsked(node: number, piece: number, isAsked: boolean): void {
    const word = node * this.#world.tally.words + (piece >>> 5)
    const bit = 1 << (piece & 31)
    this.#asked[word] = isAsked ? (this.#asked[word] as number) | bit : (this.#asked[word] as number) & ~bit
  }
}
