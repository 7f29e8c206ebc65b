import { grown } from './tables.ts'

/** The peer wants the blob and does not have it whole. */
export const WANTS = 1
/** The peer is a source of first copies (a seed, or the lease holder where there is none). */
export const INJECTS = 2
/** Nothing that the peer says it holds is believed. */
export const DISTRUSTED = 4

const FIRST_CAPACITY = 8

/**
 * The peers of one swarm in flat arrays, indexed by a small number that is reused when a peer leaves. Each is no wider
 * than its numbers are: with thousands of peers, what events cost is to have these arrays in the processor's cache.
 */
export class PeerTable {
  readonly words: number
  /** Every peer's index is below. */
  end = 0
  size = 0
  /** Node of each peer; -1: the index is free. */
  node: Int32Array
  flags: Uint8Array
  /** Zone, by its place in the swarm's list, and rack; rack -1: none is known. */
  zone: Uint8Array
  rack: Int32Array
  /** Whether some peer's rack is, or was, known. */
  hasRacks = false
  /** How urgent it is for a peer that wants the blob; lower is more urgent. */
  priority: Uint8Array
  haveCount: Int32Array
  takenCount: Int32Array
  /** Slots taken as child, as parent (`in` and `out` of SCHEDULING.md). */
  downloads: Uint16Array
  uploads: Uint16Array
  /** When the peer last got a piece, or joined. */
  progressAt: Float64Array
  /** When it last got one from its own zone, or joined. */
  nearAt: Float64Array
  /** Transfers to the peer that failed since. */
  failures: Uint16Array
  /** `words` words for each peer: pieces it has; pieces it has, or that are on their way to it. */
  have: Uint32Array
  taken: Uint32Array
  /** The peer has no piece past the one, and has taken every piece before the other. Both are bounds. */
  lastHave: Uint16Array
  firstOpen: Uint16Array
  readonly #free: number[] = []

  constructor(words: number) {
    this.words = words
    this.node = new Int32Array(FIRST_CAPACITY).fill(-1)
    this.flags = new Uint8Array(FIRST_CAPACITY)
    this.zone = new Uint8Array(FIRST_CAPACITY)
    this.rack = new Int32Array(FIRST_CAPACITY)
    this.priority = new Uint8Array(FIRST_CAPACITY)
    this.haveCount = new Int32Array(FIRST_CAPACITY)
    this.takenCount = new Int32Array(FIRST_CAPACITY)
    this.downloads = new Uint16Array(FIRST_CAPACITY)
    this.uploads = new Uint16Array(FIRST_CAPACITY)
    this.progressAt = new Float64Array(FIRST_CAPACITY)
    this.nearAt = new Float64Array(FIRST_CAPACITY)
    this.failures = new Uint16Array(FIRST_CAPACITY)
    this.have = new Uint32Array(FIRST_CAPACITY * words)
    this.taken = new Uint32Array(FIRST_CAPACITY * words)
    this.lastHave = new Uint16Array(FIRST_CAPACITY)
    this.firstOpen = new Uint16Array(FIRST_CAPACITY)
  }

  add(node: number, zone: number, rack: number, now: number): number {
    const peer = this.#free.pop() ?? this.end++
    if (peer >= this.node.length) this.#grow(this.node.length * 2)
    this.node[peer] = node
    this.zone[peer] = zone
    this.rack[peer] = rack
    if (rack >= 0) this.hasRacks = true
    this.progressAt[peer] = now
    this.nearAt[peer] = now
    this.failures[peer] = 0
    this.lastHave[peer] = 0
    this.firstOpen[peer] = 0
    this.size++
    return peer
  }

  /** Frees the index. The peer must have no pieces and no transfers by now. */
  remove(peer: number): void {
    this.node[peer] = -1
    this.flags[peer] = 0
    this.size--
    this.#free.push(peer)
  }

  is(peer: number, flag: number): boolean {
    return ((this.flags[peer] as number) & flag) !== 0
  }

  #grow(capacity: number): void {
    const { words } = this
    this.node = grown(this.node, new Int32Array(capacity).fill(-1))
    this.flags = grown(this.flags, new Uint8Array(capacity))
    this.zone = grown(this.zone, new Uint8Array(capacity))
    this.rack = grown(this.rack, new Int32Array(capacity))
    this.priority = grown(this.priority, new Uint8Array(capacity))
    this.haveCount = grown(this.haveCount, new Int32Array(capacity))
    this.takenCount = grown(this.takenCount, new Int32Array(capacity))
    this.downloads = grown(this.downloads, new Uint16Array(capacity))
    this.uploads = grown(this.uploads, new Uint16Array(capacity))
    this.progressAt = grown(this.progressAt, new Float64Array(capacity))
    this.nearAt = grown(this.nearAt, new Float64Array(capacity))
    this.failures = grown(this.failures, new Uint16Array(capacity))
    this.have = grown(this.have, new Uint32Array(capacity * words))
    this.taken = grown(this.taken, new Uint32Array(capacity * words))
    this.lastHave = grown(this.lastHave, new Uint16Array(capacity))
    this.firstOpen = grown(this.firstOpen, new Uint16Array(capacity))
  }
}
