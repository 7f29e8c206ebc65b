import type { Node } from './nodes.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'

/**
 * A blob of which a live node holds, or wants, something. The size is a claim of those nodes: a blob of the same digest
 * and another size is another blob, so that who claims a wrong one is alone with it.
 */
export interface Blob {
  readonly digest: string
  readonly sizeBytes: number
  /** Nodes that hold it whole. */
  readonly holders: Set<number>
  /** Present while somebody wants it, and for a while after. */
  swarm: Swarm | undefined
}

/** The blobs by digest and size. Almost always there is one of a digest. */
export class Blobs {
  readonly #ofDigest = new Map<string, Blob | Map<number, Blob>>()
  #size = 0

  /** How many there are. */
  get size(): number {
    return this.#size
  }

  find(digest: string, sizeBytes: number): Blob | undefined {
    const found = this.#ofDigest.get(digest)
    if (found instanceof Map) return found.get(sizeBytes)
    return found?.sizeBytes === sizeBytes ? found : undefined
  }

  /** The blobs of that digest, whatever their sizes; that which most nodes hold or take part in first. */
  of(digest: string): readonly Blob[] {
    const found = this.#ofDigest.get(digest)
    if (found === undefined) return []
    if (!(found instanceof Map)) return [found]
    return [...found.values()].sort((a, b) => nodesOf(b) - nodesOf(a))
  }

  add(blob: Blob): void {
    const found = this.#ofDigest.get(blob.digest)
    if (found === undefined) this.#ofDigest.set(blob.digest, blob)
    else if (found instanceof Map) found.set(blob.sizeBytes, blob)
    else {
      const bySize = new Map([found, blob].map((other) => [other.sizeBytes, other]))
      this.#ofDigest.set(blob.digest, bySize)
    }
    this.#size++
  }

  /** Takes out a blob that was added. */
  delete(blob: Blob): void {
    const found = this.#ofDigest.get(blob.digest)
    if (found instanceof Map) {
      found.delete(blob.sizeBytes)
      const [last] = found.values()
      if (found.size === 1 && last !== undefined) this.#ofDigest.set(blob.digest, last)
    } else this.#ofDigest.delete(blob.digest)
    this.#size--
  }
}

function nodesOf({ holders, swarm }: Blob): number {
  return Math.max(holders.size, swarm?.peers.size ?? 0)
}

/** The blob of that digest and size, remembered from now on. */
export function blobOf(state: State, digest: string, sizeBytes: number): Blob {
  let blob = state.blobs.find(digest, sizeBytes)
  if (blob === undefined) {
    blob = { digest, sizeBytes, holders: new Set(), swarm: undefined }
    state.blobs.add(blob)
  }
  return blob
}

/** The node holds the blob whole. What is over a bound is not noted, and goes when the swarm goes. */
export function addHolder(state: State, node: Node, blob: Blob): void {
  if (node.holdings.has(blob.digest)) return
  const { limits } = state
  if (node.holdings.size >= limits.nodeHoldings || state.holdings >= limits.holdings) return
  node.holdings.set(blob.digest, blob)
  blob.holders.add(node.index)
  state.holdings++
}

/** The node does not hold the blob whole any more. A blob that nobody holds or wants is forgotten. */
export function dropHolder(state: State, node: Node, digest: string): void {
  const blob = node.holdings.get(digest)
  if (blob === undefined) return
  node.holdings.delete(digest)
  state.holdings--
  blob.holders.delete(node.index)
  forgetIfUnused(state, blob)
}

/** Forgets a blob that nobody holds or wants. */
export function forgetIfUnused(state: State, blob: Blob): void {
  if (blob.swarm === undefined && blob.holders.size === 0) state.blobs.delete(blob)
}
