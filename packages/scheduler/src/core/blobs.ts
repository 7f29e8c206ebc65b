import type { Node } from './nodes.ts'
import type { Blob, State } from './state.ts'

/** The blob of that digest, remembered from now on; as long as it was when it was first heard of. */
export function blobOf(state: State, digest: string, sizeBytes: number): Blob {
  let blob = state.blobs.get(digest)
  if (blob === undefined) {
    blob = { digest, sizeBytes, holders: new Set(), swarm: undefined }
    state.blobs.set(digest, blob)
  }
  return blob
}

/** The node holds the blob whole. What is over a bound is not noted, and goes when the swarm goes. */
export function addHolder(state: State, node: Node, blob: Blob): void {
  if (node.holdings.has(blob.digest)) return
  const { limits } = state
  if (node.holdings.size >= limits.nodeHoldings || state.holdings >= limits.holdings) return
  node.holdings.add(blob.digest)
  blob.holders.add(node.index)
  state.holdings++
}

/** The node does not hold the blob whole any more. A blob that nobody holds or wants is forgotten. */
export function dropHolder(state: State, node: Node, digest: string): void {
  if (!node.holdings.delete(digest)) return
  state.holdings--
  const blob = state.blobs.get(digest)
  if (blob === undefined) return
  blob.holders.delete(node.index)
  forgetIfUnused(state, blob)
}

/** Forgets a blob that nobody holds or wants. */
export function forgetIfUnused(state: State, blob: Blob): void {
  if (blob.swarm === undefined && blob.holders.size === 0) state.blobs.delete(blob.digest)
}
