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

/** The node does not hold the blob whole any more. */
export function dropHolder(state: State, node: Node, digest: string): void {
  node.holdings.delete(digest)
  const blob = state.blobs.get(digest)
  if (blob === undefined) return
  blob.holders.delete(node.index)
  forgetIfUnused(state, blob)
}

/** Forgets a blob that nobody holds or wants. */
export function forgetIfUnused(state: State, blob: Blob): void {
  if (blob.swarm === undefined && blob.holders.size === 0) state.blobs.delete(blob.digest)
}
