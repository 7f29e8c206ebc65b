import type { Node } from './nodes.ts'
import { INJECTS, WANTS } from './peer-table.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'

/** Whether the peer has a slot for one more transfer as parent, here and over all its swarms. */
export function canSend(state: State, swarm: Swarm, peer: number): boolean {
  const { peers } = swarm
  return (peers.uploads[peer] as number) < peers.slots && state.nodes.get(peers.node[peer] as number).canUpload
}

/** Puts the peer into `I` or takes it out. Injectors are never in it: they have their own steps. */
export function refreshSender(state: State, swarm: Swarm, peer: number): void {
  const { peers } = swarm
  if ((peers.haveCount[peer] as number) > 0 && !peers.is(peer, INJECTS) && canSend(state, swarm, peer)) {
    swarm.senders.add(peer)
  } else swarm.senders.delete(peer)
}

/** Puts the peer into `R` or takes it out. */
export function refreshReceiver(state: State, swarm: Swarm, peer: number): void {
  const { peers } = swarm
  if (
    peers.is(peer, WANTS) &&
    (peers.downloads[peer] as number) < peers.slots &&
    (peers.takenCount[peer] as number) < swarm.pieces &&
    state.nodes.get(peers.node[peer] as number).canDownload
  ) {
    swarm.receivers.add(peer)
  } else swarm.receivers.delete(peer)
}

/** Looks anew at a node in all its swarms, because its slots or its standing changed. */
export function refreshNode(state: State, node: Node): void {
  for (const swarm of node.swarms) {
    const peer = swarm.peerOf.get(node.index)
    if (peer === undefined) continue
    refreshSender(state, swarm, peer)
    refreshReceiver(state, swarm, peer)
    if (swarm.wanting > 0) state.touch(swarm)
  }
}

/** Has `parent` send `piece` to `child`, both with a free slot. */
export function assign(state: State, swarm: Swarm, parent: number, child: number, piece: number): void {
  const { peers } = swarm
  const childNode = state.nodes.get(peers.node[child] as number)
  const parentNode = state.nodes.get(peers.node[parent] as number)
  let flight = child * peers.slots
  while (peers.flightPiece[flight] !== -1) flight++
  peers.flightPiece[flight] = piece
  peers.flightParent[flight] = parent
  peers.flightAt[flight] = state.now
  peers.downloads[child] = (peers.downloads[child] as number) + 1
  peers.uploads[parent] = (peers.uploads[parent] as number) + 1
  swarm.take(child, piece)
  childNode.downloads++
  parentNode.uploads++
  state.counters.assignments++
  state.commands.assignments.push(childNode.index, swarm.id, piece, parentNode.index)
  if (childNode.canDownload) refreshReceiver(state, swarm, child)
  else leaveReceivers(childNode)
  if (parentNode.canUpload) refreshSender(state, swarm, parent)
  else leaveSenders(parentNode)
}

/** Where `piece` is in flight to `child`; -1 when it is not. */
export function findFlight(swarm: Swarm, child: number, piece: number): number {
  const { flightPiece, slots } = swarm.peers
  for (let flight = child * slots; flight < (child + 1) * slots; flight++) {
    if (flightPiece[flight] === piece) return flight
  }
  return -1
}

/** Ends a transfer and frees its slots; a piece that did not arrive can be assigned again. */
export function release(state: State, swarm: Swarm, flight: number, hasArrived: boolean): void {
  const { peers } = swarm
  const child = Math.floor(flight / peers.slots)
  const parent = peers.flightParent[flight] as number
  const childNode = state.nodes.get(peers.node[child] as number)
  const parentNode = state.nodes.get(peers.node[parent] as number)
  if (!hasArrived) swarm.untake(child, peers.flightPiece[flight] as number)
  peers.flightPiece[flight] = -1
  peers.downloads[child] = (peers.downloads[child] as number) - 1
  peers.uploads[parent] = (peers.uploads[parent] as number) - 1
  const childWasFull = !childNode.canDownload
  const parentWasFull = !parentNode.canUpload
  childNode.downloads--
  parentNode.uploads--
  if (childWasFull) refreshNode(state, childNode)
  else refreshReceiver(state, swarm, child)
  if (parentWasFull) refreshNode(state, parentNode)
  else refreshSender(state, swarm, parent)
  state.touch(swarm)
}

function leaveReceivers(node: Node): void {
  for (const swarm of node.swarms) swarm.receivers.delete(swarm.peerOf.get(node.index) as number)
}

function leaveSenders(node: Node): void {
  for (const swarm of node.swarms) swarm.senders.delete(swarm.peerOf.get(node.index) as number)
}
