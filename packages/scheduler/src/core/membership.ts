import type { HaveSet } from '@shoal/core'
import { hasBit } from './bitset.ts'
import { addHolder, type Blob, dropHolder, forgetIfUnused } from './blobs.ts'
import { GONE, ORIGIN } from './events.ts'
import { endLease, leaveTurns } from './lease.ts'
import { NOT_UP, SEED } from './node-table.ts'
import type { Node } from './nodes.ts'
import { DISTRUSTED, INJECTS, WANTS } from './peer-table.ts'
import type { State } from './state.ts'
import { Swarm } from './swarm.ts'
import { claimSlots, endTransfer, refreshReceiver, refreshSender } from './transfers.ts'
import type { Zone } from './zone.ts'

/** Idle swarms that are remembered with their piece digests and partial holders, and how many pieces they may have. */
const MOST_IDLE_SWARMS = 1024
const MOST_IDLE_PIECES = 2 ** 20

/** The blob's swarm; a new one knows all live nodes that hold the blob whole. */
export function activate(state: State, blob: Blob, id: number): Swarm {
  if (blob.swarm !== undefined) return blob.swarm
  const swarm = new Swarm(id, blob.digest, blob.sizeBytes, state.usual)
  blob.swarm = swarm
  state.swarms.set(swarm.id, swarm)
  state.pieces += swarm.pieces
  for (const index of blob.holders) holdAll(state, swarm, peerFor(state, swarm, state.nodes.get(index)))
  state.touch(swarm)
  return swarm
}

/** The node's peer in the swarm; a new one wants nothing and has nothing. */
export function peerFor(state: State, swarm: Swarm, node: Node): number {
  const existing = swarm.peerAt(node.index)
  if (existing !== -1) return existing
  const peer = swarm.peers.add(node.index, swarm.zoneOf(node.zone), node.rack, state.now)
  swarm.admit(node.index, peer)
  node.swarms.set(swarm.digest, swarm)
  if (swarm.wanting > 0) node.active.add(swarm)
  claimSlots(state, node)
  if (node.info.role === 'seed') swarm.setFlag(peer, INJECTS, true)
  if (node.isBanned) swarm.setFlag(peer, DISTRUSTED, true)
  return peer
}

/**
 * A node has one blob of a digest: when it says that it has, or wants, one of another size, it takes back what it said of
 * the size before.
 */
export function keepToSize(state: State, node: Node, digest: string, sizeBytes: number): void {
  const swarm = node.swarms.get(digest)
  if (swarm !== undefined && swarm.layout.size !== sizeBytes) removePeer(state, swarm, swarm.peerAt(node.index))
  if (node.holdings.get(digest)?.sizeBytes !== sizeBytes) dropHolder(state, node, digest)
}

/** The peer waits for the blob from now on, so urgently. */
export function want(state: State, swarm: Swarm, peer: number, priority: number): void {
  const { peers } = swarm
  if (peers.is(peer, WANTS)) {
    swarm.countWanting(peers.priority[peer] as number, -1)
    peers.priority[peer] = Math.min(priority, peers.priority[peer] as number)
    swarm.countWanting(peers.priority[peer] as number, 1)
  } else {
    const wasIdle = swarm.wanting === 0
    peers.flags[peer] = (peers.flags[peer] as number) | WANTS
    peers.progressAt[peer] = state.now
    peers.nearAt[peer] = state.now
    peers.failures[peer] = 0
    peers.priority[peer] = priority
    swarm.countWanting(priority, 1)
    const node = state.nodes.get(peers.node[peer] as number)
    node.blobsWanted++
    node.piecesWanted += swarm.pieces
    state.idle.delete(swarm)
    if (wasIdle) wake(state, swarm)
  }
  refreshReceiver(state, swarm, peer)
  state.touch(swarm)
}

/** The peer does not wait any more; what is in flight to it is forgotten, what it holds stays. */
export function unwant(state: State, swarm: Swarm, peer: number): void {
  const { peers } = swarm
  if (peers.is(peer, WANTS)) {
    peers.flags[peer] = (peers.flags[peer] as number) & ~WANTS
    swarm.countWanting(peers.priority[peer] as number, -1)
    const node = state.nodes.get(peers.node[peer] as number)
    node.blobsWanted--
    node.piecesWanted -= swarm.pieces
    swarm.sources.disclaim(peer)
  }
  const { flights } = swarm
  for (let flight = flights.firstTo(peer); flight !== -1; flight = flights.firstTo(peer)) {
    endTransfer(state, swarm, flight, false)
  }
  ;(swarm.zones[peers.zone[peer] as number] as Zone).receivers.delete(peer)
  state.touch(swarm)
}

/** The peer has this piece; with its last one it is a holder of the blob and wants it no more. */
export function hold(state: State, swarm: Swarm, peer: number, piece: number): void {
  swarm.hold(peer, piece)
  swarm.progressAt = state.now
  swarm.peers.progressAt[peer] = state.now
  swarm.peers.failures[peer] = 0
  if (swarm.peers.haveCount[peer] === 1) refreshSender(state, swarm, peer)
  if (swarm.peers.takenCount[peer] === swarm.pieces) refreshReceiver(state, swarm, peer)
  if (swarm.isComplete(peer)) completed(state, swarm, peer)
  state.touch(swarm)
}

/** The peer has all pieces. */
export function holdAll(state: State, swarm: Swarm, peer: number): void {
  for (let piece = 0; piece < swarm.pieces; piece++) swarm.hold(peer, piece)
  refreshSender(state, swarm, peer)
  if (swarm.isComplete(peer)) completed(state, swarm, peer)
  state.touch(swarm)
}

/** Makes what the peer holds exactly `have`; undefined: nothing. A peer that is left with no purpose leaves. */
export function holdExactly(state: State, swarm: Swarm, peer: number, have: HaveSet | undefined): void {
  for (let piece = 0; piece < swarm.pieces; piece++) {
    if (have?.has(piece) === true || !hasBit(swarm.peers.taken, peer * swarm.words, piece)) continue
    swarm.unhold(peer, piece)
    swarm.absolve(peer, piece)
    const isLeased = swarm.lease?.peer === peer && hasBit(swarm.lease.pieces, 0, piece)
    if (!isLeased && swarm.flights.find(peer, piece, -1) === -1) swarm.untake(peer, piece)
  }
  for (let piece = 0; piece < swarm.pieces; piece++) if (have?.has(piece) === true) hold(state, swarm, peer, piece)
  lost(state, swarm, peer)
}

/**
 * Counts a piece that a peer says it has got from a node, or ORIGIN, unless it has it already. That is for every piece:
 * it touches tables, and no node itself.
 */
export function countPiece(state: State, swarm: Swarm, peer: number, piece: number, parent: number): void {
  if (hasBit(swarm.peers.have, peer * swarm.words, piece)) return
  const bytes = swarm.layout.length(piece)
  const { nodes, counters } = state
  const { table } = nodes
  const child = swarm.peers.node[peer] as number
  table.received[child] = (table.received[child] as number) + 1
  if (parent === ORIGIN) {
    swarm.bytes.origin += bytes
    counters.bytes.origin += bytes
    state.pieceArrived?.(swarm, child, parent, bytes, state.now)
    return
  }
  const role = parent === GONE ? NOT_UP : (table.role[parent] ?? NOT_UP)
  if (role === NOT_UP) return
  state.pieceArrived?.(swarm, child, parent, bytes, state.now)
  table.sent[parent] = (table.sent[parent] as number) + 1
  state.avoidance.succeeded(child, parent)
  if (nodes.lastPauses.size > 0) nodes.lastPauses.delete(parent)
  if (nodes.unreachableFor.size > 0) nodes.unreachableFor.delete(parent)
  if (role === SEED) {
    swarm.bytes.seed += bytes
    counters.bytes.seed += bytes
  } else {
    swarm.bytes.peer += bytes
    counters.bytes.peer += bytes
  }
}

/** The peer does not have this piece after all. */
export function unhold(state: State, swarm: Swarm, peer: number, piece: number): void {
  swarm.unhold(peer, piece)
  swarm.untake(peer, piece)
  lost(state, swarm, peer)
}

/** After pieces of the peer were taken back: it is no holder of the whole blob, and perhaps none at all. */
export function lost(state: State, swarm: Swarm, peer: number): void {
  const node = state.nodes.get(swarm.peers.node[peer] as number)
  if (!swarm.isComplete(peer)) dropHolder(state, node, swarm.digest)
  refreshSender(state, swarm, peer)
  refreshReceiver(state, swarm, peer)
  state.touch(swarm)
  leaveIfUseless(state, swarm, peer)
}

/** Takes a peer that neither wants, nor has, nor fetches anything out of the swarm. */
export function leaveIfUseless(state: State, swarm: Swarm, peer: number): void {
  const isUseless = !swarm.peers.is(peer, WANTS) && swarm.peers.haveCount[peer] === 0 && swarm.lease?.peer !== peer
  if (isUseless) removePeer(state, swarm, peer)
}

/** Takes the peer out of the swarm, with all that is in flight to and from it. */
export function removePeer(state: State, swarm: Swarm, peer: number): void {
  const { peers } = swarm
  const index = peers.node[peer] as number
  if (swarm.lease?.peer === peer) endLease(state, swarm, 'holder_gone')
  unwant(state, swarm, peer)
  const { flights } = swarm
  for (let flight = flights.oldest; flight !== -1; ) {
    const newer = flights.newerThan(flight)
    if (flights.parent(flight) === peer) endTransfer(state, swarm, flight, false)
    flight = newer
  }
  swarm.clear(peer)
  swarm.setFlag(peer, INJECTS, false)
  ;(swarm.zones[peers.zone[peer] as number] as Zone).senders.delete(peer)
  swarm.dismiss(index)
  if (swarm.inquiry.node === index) swarm.inquiry.node = -1
  const node = state.nodes.get(index)
  node.swarms.delete(swarm.digest)
  node.active.delete(swarm)
  claimSlots(state, node)
  peers.remove(peer)
  state.touch(swarm)
}

/** Forgets the swarm; the nodes that hold the blob whole stay known. */
export function dissolve(state: State, swarm: Swarm): void {
  for (let peer = 0; peer < swarm.peers.end; peer++) {
    if (swarm.peers.node[peer] !== -1) removePeer(state, swarm, peer)
  }
  leaveTurns(state, swarm)
  if (state.swarms.delete(swarm.id)) state.pieces -= swarm.pieces
  state.idle.delete(swarm)
  state.commands.closed.push(swarm.id)
  const blob = state.blobs.find(swarm.digest, swarm.layout.size)
  if (blob === undefined) return
  blob.swarm = undefined
  forgetIfUnused(state, blob)
}

/** Notices that nobody wants the swarm any more, and forgets the longest idle ones when there are too many. */
export function settle(state: State, swarm: Swarm): void {
  if (swarm.wanting > 0 || swarm.lease !== undefined) return
  if (swarm.peers.size === 0) {
    dissolve(state, swarm)
    return
  }
  swarm.clearRefusals()
  for (const peer of [...swarm.injectors]) {
    if (state.nodes.get(swarm.peers.node[peer] as number).info.role === 'peer') {
      swarm.setFlag(peer, INJECTS, false)
      refreshSender(state, swarm, peer)
    }
  }
  doze(state, swarm)
  state.idle.add(swarm)
  let pieces = 0
  for (const idle of state.idle) pieces += idle.pieces
  for (const idle of state.idle) {
    if (state.idle.size <= MOST_IDLE_SWARMS && pieces <= MOST_IDLE_PIECES) break
    pieces -= idle.pieces
    dissolve(state, idle)
  }
}

/** Somebody wants the swarm again: it has a claim to its nodes' slots. */
function wake(state: State, swarm: Swarm): void {
  for (const [index, peer] of swarm.peerOf) {
    const node = state.nodes.get(index)
    node.active.add(swarm)
    claimSlots(state, node)
    refreshSender(state, swarm, peer)
  }
}

/** Nobody wants the swarm: nothing in it is kept up until somebody does. */
function doze(state: State, swarm: Swarm): void {
  for (const index of swarm.peerOf.keys()) {
    const node = state.nodes.get(index)
    if (node.active.delete(swarm)) claimSlots(state, node)
  }
}

function completed(state: State, swarm: Swarm, peer: number): void {
  const node = state.nodes.get(swarm.peers.node[peer] as number)
  const blob = state.blobs.find(swarm.digest, swarm.layout.size)
  if (blob !== undefined) addHolder(state, node, blob)
  unwant(state, swarm, peer)
}
