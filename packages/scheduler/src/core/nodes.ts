import type { Swarm } from './swarm.ts'

/** What a node is for. */
export type Role = 'peer' | 'seed'

/** What a node says of itself when it comes up. */
export interface NodeInfo {
  /** Stays the same when the node reconnects: its peer id. */
  readonly id: string
  readonly role: Role
  /** Pieces it sends at once at the most, in all swarms together; at least 1. */
  readonly uploadSlots: number
  /** Pieces it fetches at once at the most, in all swarms together; at least 1. */
  readonly downloadSlots: number
  /** Placement, such as zone and rack. */
  readonly labels: Readonly<Record<string, string>>
}

/** A live node. Its index is reused after it went down. */
export class Node {
  readonly index: number
  readonly info: NodeInfo
  uploads = 0
  downloads = 0
  /** Leases that it carries out. */
  leases = 0
  /** Pieces of all blobs that it wants, a bound on what it can make us remember. */
  piecesWanted = 0
  piecesSent = 0
  piecesReceived = 0
  /** Not used as a parent for now: too many nodes could not reach it. */
  isPaused = false
  /** Nothing that it says it holds is believed: too many nodes got wrong bytes from it. */
  isBanned = false
  /** When the pause or ban ends. */
  pausedUntil = 0
  bannedUntil = 0
  /** Who lately reported that it could not be reached, and that it sent wrong bytes. */
  readonly unreachableFor = new Set<number>()
  readonly corruptFor = new Set<number>()
  /** Swarms in which it takes part. */
  readonly swarms = new Set<Swarm>()
  /** Digests of blobs that it holds whole. */
  readonly holdings = new Set<string>()

  constructor(index: number, info: NodeInfo) {
    this.index = index
    this.info = info
  }

  get canUpload(): boolean {
    return this.uploads < this.info.uploadSlots && !this.isPaused
  }

  get canDownload(): boolean {
    return this.downloads < this.info.downloadSlots
  }
}

/** The live nodes. */
export class Nodes {
  readonly #nodes: (Node | undefined)[] = []
  readonly #free: number[] = []
  readonly seeds = new Set<Node>()
  #size = 0

  get size(): number {
    return this.#size
  }

  add(info: NodeInfo): Node {
    const node = new Node(this.#free.pop() ?? this.#nodes.length, info)
    this.#nodes[node.index] = node
    if (info.role === 'seed') this.seeds.add(node)
    this.#size++
    return node
  }

  remove(node: Node): void {
    this.#nodes[node.index] = undefined
    this.seeds.delete(node)
    this.#free.push(node.index)
    this.#size--
  }

  /** The live node of this index; throws RangeError when there is none. */
  get(index: number): Node {
    const node = this.#nodes[index]
    if (node === undefined) throw new RangeError(`node ${index} is not up`)
    return node
  }

  /** The live node of this index, if there is one. */
  find(index: number): Node | undefined {
    return this.#nodes[index]
  }

  *[Symbol.iterator](): Generator<Node> {
    for (const node of this.#nodes) if (node !== undefined) yield node
  }
}
