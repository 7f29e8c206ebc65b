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
  if (node.holdings.has(digest)) return undefined
  if (node.holdings.size >= limits.nodeHoldings) return 'nodeHoldings'
  if (state.holdings >= limits.holdings) return 'holdings'
  return boundOfBlob(state, digest)
}

/** The bound that is in the way of the node's waiting for the blob; undefined: none. */
export function boundOfJoin(state: State, node: Node, digest: string, sizeBytes: number): Bound | undefined {
  const { limits } = state
  const pieces = piecesOf(sizeBytes)
  if (pieces > MOST_PIECES) return 'blobSize'
  const swarm = state.blobs.get(digest)?.swarm
  const peer = swarm?.peerAt(node.index) ?? -1
  if (swarm !== undefined && peer !== -1 && swarm.peers.is(peer, WANTS)) return undefined
  if (node.blobsWanted >= limits.nodeJoins) return 'nodeJoins'
  if (node.piecesWanted + pieces > limits.nodePieces) return 'nodePieces'
  return boundOfSwarm(state, node, digest, pieces)
}

/** The bound that is in the way of noting what the node has of the blob; undefined: none. */
export function boundOfPart(state: State, node: Node, digest: string, sizeBytes: number): Bound | undefined {
  const pieces = piecesOf(sizeBytes)
  return pieces > MOST_PIECES ? 'blobSize' : boundOfSwarm(state, node, digest, pieces)
}

function boundOfSwarm(state: State, node: Node, digest: string, pieces: number): Bound | undefined {
  const { limits } = state
  const swarm = state.blobs.get(digest)?.swarm
  if (swarm !== undefined && node.swarms.has(swarm)) return undefined
  if (node.swarms.size >= limits.nodeSwarms) return 'nodeSwarms'
  if (swarm !== undefined) return undefined
  if (state.swarms.size >= limits.swarms) return 'swarms'
  if (state.pieces + pieces > limits.pieces) return 'pieces'
  return boundOfBlob(state, digest)
}

function boundOfBlob(state: State, digest: string): Bound | undefined {
  return state.blobs.size >= state.limits.blobs && !state.blobs.has(digest) ? 'blobs' : undefined
}
