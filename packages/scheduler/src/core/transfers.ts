import { hasBit } from './bitset.ts'
import type { Node } from './nodes.ts'
import { INJECTS, WANTS } from './peer-table.ts'
import { NODE_SLOTS } from './slots.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'
import type { Zone } from './zone.ts'

/** Whether the peer has a slot for one more transfer as parent, here and over all its swarms. */
export function canSend(state: State, swarm: Swarm, peer: number): boolean {
  const { peers } = swarm
  const { table } = state.nodes
  const node = peers.node[peer] as number
  return (peers.uploads[peer] as number) < table.speedily(node, swarm.slots) && table.asParent.hasFree(node)
}

/** Puts the peer into `I` or takes it out. Injectors are never in it: they have their own steps. */
export function refreshSender(state: State, swarm: Swarm, peer: number): void {
  const { peers } = swarm
  const { senders } = swarm.zones[peers.zone[peer] as number] as Zone
  if ((peers.haveCount[peer] as number) > 0 && !peers.is(peer, INJECTS) && canSend(state, swarm, peer)) {
    senders.add(peer)
  } else senders.delete(peer)
}

/** Puts the peer into `R` or takes it out. */
export function refreshReceiver(state: State, swarm: Swarm, peer: number): void {
  const { peers } = swarm
  const { receivers } = swarm.zones[peers.zone[peer] as number] as Zone
  if (
    peers.is(peer, WANTS) &&
    (peers.downloads[peer] as number) < swarm.slots &&
    (peers.takenCount[peer] as number) < swarm.pieces &&
    state.nodes.table.asChild.hasFree(peers.node[peer] as number)
  ) {
    receivers.add(peer)
  } else receivers.delete(peer)
}

/** Looks anew at a node in all its active swarms, because its slots or its standing changed. */
export function refreshNode(state: State, node: Node): void {
  state.nodes.setLimits(node)
  for (const swarm of node.active) {
    const peer = swarm.peerOf.get(node.index)
    if (peer === undefined) continue
    refreshSender(state, swarm, peer)
    refreshReceiver(state, swarm, peer)
    state.touch(swarm)
  }
}

/** Gives a node the slots that its active swarms call for. */
export function claimSlots(state: State, node: Node): void {
  const { table } = state.nodes
  const { index } = node
  let slots = NODE_SLOTS
  for (const swarm of node.active) slots = Math.max(slots, swarm.slots)
  const speed = state.nodes.speedOf(node)
  table.activeCount[index] = node.active.size
  if (table.slots[index] === slots && table.speed[index] === speed) return
  table.slots[index] = slots
  table.speed[index] = speed
  refreshNode(state, node)
}

/** Has `parent` send `piece` to `child`, both with a free slot. */
export function assign(state: State, swarm: Swarm, parent: number, child: number, piece: number): void {
  const { peers } = swarm
  const { asChild, asParent } = state.nodes.table
  const childNode = peers.node[child] as number
  const parentNode = peers.node[parent] as number
  swarm.flights.begin(child, parent, piece, state.now)
  peers.downloads[child] = (peers.downloads[child] as number) + 1
  peers.uploads[parent] = (peers.uploads[parent] as number) + 1
  swarm.take(child, piece)
  asChild.take(childNode, swarm.slotShare)
  asParent.take(parentNode, swarm.slotShare)
  state.counters.assignments++
  state.commands.assignments.add(childNode, swarm.id, piece, parentNode)
  if (asChild.hasFree(childNode) || isAlone(state, childNode)) refreshReceiver(state, swarm, child)
  else leaveReceivers(state.nodes.get(childNode))
  if (asParent.hasFree(parentNode) || isAlone(state, parentNode)) refreshSender(state, swarm, parent)
  else leaveSenders(state.nodes.get(parentNode))
}

/** The transfer takes no slot of its child any more. */
export function freeChildSlot(state: State, swarm: Swarm, flight: number): void {
  const { peers, flights } = swarm
  if (!flights.takesChildSlot(flight)) return
  flights.freeChildSlot(flight)
  const { asChild } = state.nodes.table
  const child = flights.child(flight)
  const node = peers.node[child] as number
  peers.downloads[child] = (peers.downloads[child] as number) - 1
  const wasFull = !asChild.hasFree(node)
  asChild.free(node, swarm.slotShare)
  if (wasFull && !isAlone(state, node)) refreshNode(state, state.nodes.get(node))
  else refreshReceiver(state, swarm, child)
  state.touch(swarm)
}

/** The transfer takes no slot of its parent any more. */
export function freeParentSlot(state: State, swarm: Swarm, flight: number): void {
  const { peers, flights } = swarm
  if (!flights.takesParentSlot(flight)) return
  flights.freeParentSlot(flight)
  const { asParent } = state.nodes.table
  const parent = flights.parent(flight)
  const node = peers.node[parent] as number
  peers.uploads[parent] = (peers.uploads[parent] as number) - 1
  const wasFull = !asParent.hasFree(node)
  asParent.free(node, swarm.slotShare)
  if (wasFull && !isAlone(state, node)) refreshNode(state, state.nodes.get(node))
  else refreshSender(state, swarm, parent)
  state.touch(swarm)
}

/** Ends a transfer; a piece that did not arrive and is not on its way from another can be assigned again. */
export function endTransfer(state: State, swarm: Swarm, flight: number, hasArrived: boolean): void {
  const { flights, peers, words } = swarm
  const child = flights.child(flight)
  const piece = flights.piece(flight)
  freeParentSlot(state, swarm, flight)
  freeChildSlot(state, swarm, flight)
  flights.end(flight)
  if (hasArrived || hasBit(peers.have, child * words, piece) || flights.find(child, piece, -1) !== -1) return
  swarm.untake(child, piece)
  refreshReceiver(state, swarm, child)
}

/** The transfer of a piece between two nodes; -1: there is none. */
export function findTransfer(swarm: Swarm, child: number, piece: number, parent: number): number {
  const { flights, peers } = swarm
  const peer = swarm.peerAt(child)
  if (peer === -1) return -1
  for (let flight = flights.firstTo(peer); flight !== -1; flight = flights.nextTo(flight)) {
    if (flights.piece(flight) === piece && peers.node[flights.parent(flight)] === parent) return flight
  }
  return -1
}

/** Whether no other swarm has a claim to the node's slots. */
function isAlone(state: State, node: number): boolean {
  return (state.nodes.table.activeCount[node] as number) <= 1
}

function leaveReceivers(node: Node): void {
  for (const swarm of node.active) {
    const peer = swarm.peerOf.get(node.index) as number
    ;(swarm.zones[swarm.peers.zone[peer] as number] as Zone).receivers.delete(peer)
  }
}

function leaveSenders(node: Node): void {
  for (const swarm of node.active) {
    const peer = swarm.peerOf.get(node.index) as number
    ;(swarm.zones[swarm.peers.zone[peer] as number] as Zone).senders.delete(peer)
  }
}
