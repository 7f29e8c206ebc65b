import { chooseSome } from './choose-some.ts'

/** How many records are kept of others; this node's own are not counted. */
export interface ProviderBounds {
  /** Of one sender. */
  readonly ofNode: number
  /** Of one blob. */
  readonly ofBlob: number
  readonly inAll: number
  /** Named to who asks for a blob. */
  readonly named: number
}

/**
 * Provider records of the DHT: which nodes say that they hold which blob. Anybody may send them, under as many names as
 * it makes keys, so they are bounded: who has sent most loses its oldest first, and so those of a swarm stay beside
 * a flood.
 */
export class ProviderTable {
  readonly #bounds: ProviderBounds
  readonly #ownPeerId: string
  readonly #random: () => number
  /** What each record says, by blob and node; the oldest first. */
  readonly #byBlob = new Map<string, Map<string, Uint8Array>>()
  /** Blobs of each other node; the oldest first. */
  readonly #byNode = new Map<string, Set<string>>()
  /** Nodes by how many records they have. */
  readonly #byCount = new Map<number, Set<string>>()
  #mostOfOne = 0
  #count = 0

  constructor(bounds: ProviderBounds, ownPeerId: string, random: () => number) {
    this.#bounds = bounds
    this.#ownPeerId = ownPeerId
    this.#random = random
  }

  /** Records of other nodes. */
  get count(): number {
    return this.#count
  }

  get(blob: string, node: string): Uint8Array | undefined {
    return this.#byBlob.get(blob)?.get(node)
  }

  /** Keeps a record, as the newest; others go when there are too many. */
  put(blob: string, node: string, record: Uint8Array): void {
    this.delete(blob, node)
    const { inAll, ofBlob, ofNode } = this.#bounds
    if (node !== this.#ownPeerId) {
      if ((this.#byNode.get(node)?.size ?? 0) >= ofNode) this.#deleteOldestOf(node)
      if ((this.#byBlob.get(blob)?.size ?? 0) >= ofBlob) this.#deleteOldestFor(blob)
      if (this.#count >= inAll) this.#deleteOneOfMost()
      this.#counted(node, 1, (blobs) => blobs.add(blob))
    }
    const records = this.#byBlob.get(blob) ?? new Map<string, Uint8Array>()
    this.#byBlob.set(blob, records.set(node, record))
  }

  delete(blob: string, node: string): void {
    const records = this.#byBlob.get(blob)
    if (records?.delete(node) !== true) return
    if (records.size === 0) this.#byBlob.delete(blob)
    if (node !== this.#ownPeerId) this.#counted(node, -1, (blobs) => blobs.delete(blob))
  }

  /** Records of a blob by node: all, or some by chance of many. */
  of(blob: string): [node: string, record: Uint8Array][] {
    return chooseSome([...(this.#byBlob.get(blob) ?? [])], this.#bounds.named, this.#random)
  }

  *all(): Generator<[blob: string, node: string, record: Uint8Array]> {
    for (const [blob, records] of this.#byBlob) for (const [node, record] of records) yield [blob, node, record]
  }

  #deleteOldestOf(node: string): void {
    const [oldest] = this.#byNode.get(node) ?? []
    if (oldest !== undefined) this.delete(oldest, node)
  }

  #deleteOldestFor(blob: string): void {
    for (const node of this.#byBlob.get(blob)?.keys() ?? []) {
      if (node === this.#ownPeerId) continue
      this.delete(blob, node)
      return
    }
  }

  #deleteOneOfMost(): void {
    const [node] = this.#byCount.get(this.#mostOfOne) ?? []
    if (node !== undefined) this.#deleteOldestOf(node)
  }

  #counted(node: string, change: 1 | -1, apply: (blobs: Set<string>) => void): void {
    const blobs = this.#byNode.get(node) ?? new Set()
    this.#leaveCount(blobs.size, node)
    apply(blobs)
    this.#count += change
    if (blobs.size === 0) this.#byNode.delete(node)
    else this.#byNode.set(node, blobs)
    if (blobs.size > 0) this.#byCount.set(blobs.size, (this.#byCount.get(blobs.size) ?? new Set()).add(node))
    this.#mostOfOne = Math.max(this.#mostOfOne, blobs.size)
    while (this.#mostOfOne > 0 && !this.#byCount.has(this.#mostOfOne)) this.#mostOfOne--
  }

  #leaveCount(count: number, node: string): void {
    const nodes = this.#byCount.get(count)
    nodes?.delete(node)
    if (nodes?.size === 0) this.#byCount.delete(count)
  }
}
