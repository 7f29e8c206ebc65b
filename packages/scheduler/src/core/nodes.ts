import type { Blob } from './blobs.ts'
import { fnv1a } from './hash.ts'
import { NodeTable } from './node-table.ts'
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
  /** Whether it is on the scheduler's own machine. */
  readonly isLocal?: boolean
  /** Whether only nodes on that machine can fetch from it. */
  readonly isConfined?: boolean
}

/** A live node. Its index is reused after it went down. */
export class Node {
  readonly index: number
  readonly info: NodeInfo
  /** Its label `zone`, by Kubernetes' name too; empty: unknown. */
  readonly zone: string
  /** A number of at least 0 that stands for its label `rack`; -1: unknown. */
  readonly rack: number
  /** Leases that it carries out. */
  leases = 0
  /** Leases that are carried out, by whomever, on its word. */
  leasesFor = 0
  /** Blobs that it waits for, and their pieces together: bounds on what it can make us remember. */
  blobsWanted = 0
  piecesWanted = 0
  /** When it was last told that something it said was refused. */
  refusedAt = Number.NEGATIVE_INFINITY
  /** Not used as a parent for now: too many nodes could not reach it. */
  isPaused = false
  /** Nothing that it says it holds is believed: too many nodes got wrong bytes from it. */
  isBanned = false
  /** When the pause ends. */
  pausedUntil = 0
  /** Who lately reported that it sent wrong bytes. */
  readonly corruptFor = new Set<number>()
  /** Swarms in which it takes part by digest, and those of them that somebody wants. */
  readonly swarms = new Map<string, Swarm>()
  readonly active = new Set<Swarm>()
  /** Blobs that it holds whole, by digest: one of each, and of the size of that swarm. */
  readonly holdings = new Map<string, Blob>()

  readonly #table: NodeTable

  constructor(index: number, info: NodeInfo, table: NodeTable) {
    const { labels } = info
    this.index = index
    this.info = info
    this.#table = table
    this.zone = labels.zone ?? labels['topology.kubernetes.io/zone'] ?? ''
    this.rack = labels.rack === undefined ? -1 : fnv1a(this.zone, '/', labels.rack) >>> 1
  }

  /** Transfers in flight in all swarms together, as parent and as child. */
  get uploads(): number {
    return this.info.uploadSlots - this.#table.asParent.left(this.index)
  }

  get downloads(): number {
    return this.info.downloadSlots - this.#table.asChild.left(this.index)
  }

  /** Since it came up. */
  get piecesSent(): number {
    return this.#table.sent[this.index] as number
  }

  get piecesReceived(): number {
    return this.#table.received[this.index] as number
  }
}

/** The live nodes. */
export class Nodes {
  readonly #nodes: (Node | undefined)[] = []
  readonly #free: number[] = []
  readonly seeds = new Set<Node>()
  readonly table = new NodeTable()
  /** Who lately reported, of each node, that it could not be reached. */
  readonly unreachableFor = new Map<number, Set<number>>()
  /** How long, in milliseconds, the last pause was of each node that was paused and from which no piece has come since. */
  readonly lastPauses = new Map<number, number>()
  #size = 0
  /** Upload slots of all ordinary nodes together. */
  #uploadSlots = 0

  get size(): number {
    return this.#size
  }

  add(info: NodeInfo): Node {
    const node = new Node(this.#free.pop() ?? this.#nodes.length, info, this.table)
    this.#nodes[node.index] = node
    this.table.reset(node.index, info)
    this.setLimits(node)
    if (info.role === 'seed') this.seeds.add(node)
    else this.#uploadSlots += info.uploadSlots
    this.#size++
    return node
  }

  remove(node: Node): void {
    this.table.forget(node.index)
    this.lastPauses.delete(node.index)
    this.unreachableFor.delete(node.index)
    for (const reporters of this.unreachableFor.values()) reporters.delete(node.index)
    this.#nodes[node.index] = undefined
    if (!this.seeds.delete(node)) this.#uploadSlots -= node.info.uploadSlots
    this.#free.push(node.index)
    this.#size--
  }

  /** Says anew how many slots the node has, after what they depend on has changed. */
  setLimits(node: Node): void {
    const { index, info } = node
    const { table } = this
    const upload = Math.min(info.uploadSlots, table.asParent.fillable(index, table.parentSlots(index)))
    table.asParent.setLimit(index, node.isPaused ? 0 : upload)
    const download = Math.min(info.downloadSlots, table.asChild.fillable(index, table.slots[index] as number))
    table.asChild.setLimit(index, download)
  }

  /** Rate of a seed relative to the ordinary nodes', as their upload slots say; at least 1. */
  speedOf(node: Node): number {
    const peers = this.#size - this.seeds.size
    if (node.info.role === 'peer' || peers === 0) return 1
    return Math.max(1, (node.info.uploadSlots * peers) / this.#uploadSlots)
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
