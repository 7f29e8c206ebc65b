import { pieceSizeFor } from '@shoal/core'
import { type Bound, MOST_PIECES } from './limits.ts'
import type { Node } from './nodes.ts'
import { WANTS } from './peer-table.ts'
import type { State } from './state.ts'

/** How many pieces a blob has, without a step for each of them. @param sizeBytes at least 1 */
export function piecesOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / pieceSizeFor(sizeBytes))
}

/** The bound that is in the way of noting that the node holds the blob; undefined: none. */
export function boundOfHolding(state: State, node: Node, digest: string, sizeBytes: number): Bound | undefined {
  const { limits } = state
  if (piecesOf(sizeBytes) > MOST_PIECES) return 'blobSize'
  if (node.holdings.get(digest)?.sizeBytes === sizeBytes) return undefined
  if (node.holdings.size >= limits.nodeHoldings) return 'nodeHoldings'
  if (state.holdings >= limits.holdings) return 'holdings'
  return boundOfBlob(state, digest, sizeBytes)
}

/** The bound that is in the way of the node's waiting for the blob; undefined: none. */
export function boundOfJoin(state: State, node: Node, digest: string, sizeBytes: number): Bound | undefined {
  const { limits } = state
  const pieces = piecesOf(sizeBytes)
  if (pieces > MOST_PIECES) return 'blobSize'
  const swarm = node.swarms.get(digest)
  if (swarm?.layout.size === sizeBytes && swarm.peers.is(swarm.peerAt(node.index), WANTS)) return undefined
  if (node.blobsWanted >= limits.nodeJoins) return 'nodeJoins'
  if (node.piecesWanted + pieces > limits.nodePieces) return 'nodePieces'
  return boundOfSwarm(state, node, digest, sizeBytes)
}

/** The bound that is in the way of noting what the node has of the blob; undefined: none. */
export function boundOfPart(state: State, node: Node, digest: string, sizeBytes: number): Bound | undefined {
  return piecesOf(sizeBytes) > MOST_PIECES ? 'blobSize' : boundOfSwarm(state, node, digest, sizeBytes)
}

function boundOfSwarm(state: State, node: Node, digest: string, sizeBytes: number): Bound | undefined {
  const { limits } = state
  const swarm = state.blobs.find(digest, sizeBytes)?.swarm
  if (swarm !== undefined && node.swarms.get(digest) === swarm) return undefined
  if (node.swarms.size >= limits.nodeSwarms) return 'nodeSwarms'
  if (swarm !== undefined) return undefined
  if (state.swarms.size >= limits.swarms) return 'swarms'
  if (state.pieces + piecesOf(sizeBytes) > limits.pieces) return 'pieces'
  return boundOfBlob(state, digest, sizeBytes)
}

function boundOfBlob(state: State, digest: string, sizeBytes: number): Bound | undefined {
  if (state.blobs.size < state.limits.blobs) return undefined
  return state.blobs.find(digest, sizeBytes) === undefined ? 'blobs' : undefined
}
