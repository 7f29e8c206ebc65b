import { hasBit } from './bitset.ts'
import { dropHolder } from './blobs.ts'
import { endLease } from './lease.ts'
import { failPeer } from './leasing.ts'
import { lost, unhold } from './membership.ts'
import type { Node } from './nodes.ts'
import { DISTRUSTED } from './peer-table.ts'
import type { PieceFailure, State } from './state.ts'
import type { Swarm } from './swarm.ts'
import { endTransfer, refreshNode } from './transfers.ts'

/** How long a child is not sent to the same parent again; after trouble, the first time. */
const BUSY_MS = 200
const TROUBLE_MS = 5_000
const CORRUPT_MS = 600_000
/**
 * A parent that so many children in a row could not reach is nobody's parent for a while, at first a short one: it may
 * be well, and they cut off from it. Each time in a row it is twice as long.
 */
const UNREACHABLE_REPORTERS = 3
const PAUSE_MS = { first: 2_000, most: 60_000 }
/** A parent that so many children got wrong bytes from is believed nothing for a while. One alone may be lying. */
const CORRUPT_REPORTERS = 2
const BAN_MS = 600_000

/**
 * A transfer failed: frees its slots and draws the consequences for the parent, or for the child. Who loses or spoils
 * pieces does not get the next lease, or the origin would be read for it again and again.
 */
export function transferFailed(state: State, swarm: Swarm, flight: number, reason: PieceFailure): void {
  const { peers, flights } = swarm
  const piece = flights.piece(flight)
  const parent = flights.parent(flight)
  const child = flights.child(flight)
  const childNode = state.nodes.get(peers.node[child] as number)
  const parentNode = state.nodes.get(peers.node[parent] as number)
  state.counters.pieceFailures[reason]++
  if (reason !== 'busy') peers.failures[child] = (peers.failures[child] as number) + 1
  endTransfer(state, swarm, flight, false)
  const avoidFor = (ms: number) => state.avoidance.avoid(childNode.index, parentNode.index, state.now, ms)
  const avoidAtFirstFor = (ms: number) => state.avoidance.failed(childNode.index, parentNode.index, state.now, ms)
  switch (reason) {
    case 'local':
      failPeer(state, swarm, child, 'local')
      return
    case 'not_held':
      avoidFor(BUSY_MS)
      swarm.refusals.set(parentNode.index, 'local')
      if (hasBit(peers.have, parent * swarm.words, piece)) unhold(state, swarm, parent, piece)
      return
    case 'busy':
      avoidFor(BUSY_MS)
      return
    case 'corrupt':
      avoidFor(CORRUPT_MS)
      blame(state, swarm, parent, piece)
      parentNode.corruptFor.add(childNode.index)
      if (parentNode.corruptFor.size >= CORRUPT_REPORTERS) ban(state, parentNode)
      return
    case 'unreachable':
      avoidAtFirstFor(TROUBLE_MS)
      if (reportUnreachable(state, parentNode, childNode) >= UNREACHABLE_REPORTERS) pauseNode(state, parentNode)
      return
    default:
      avoidAtFirstFor(TROUBLE_MS)
  }
}

/**
 * A transfer from an injector hung, and nobody else has the piece: it is better begun anew, with any child, or from
 * another injector. The pair is left alone for a moment, or it would be the next again, however often it hangs.
 */
export function giveUpTransfer(state: State, swarm: Swarm, flight: number): void {
  const { peers, flights } = swarm
  const child = peers.node[flights.child(flight)] as number
  const parent = peers.node[flights.parent(flight)] as number
  state.commands.cancellations.add(child, swarm.id, flights.piece(flight), parent)
  state.avoidance.failed(child, parent, state.now, BUSY_MS)
  endTransfer(state, swarm, flight, false)
}

/** Lets pauses and bans end that are over. */
export function forgive(state: State): void {
  for (const [id, until] of state.banned) if (until <= state.now) state.banned.delete(id)
  for (const node of state.nodes) {
    if (node.isPaused && node.pausedUntil <= state.now) {
      node.isPaused = false
      refreshNode(state, node)
    }
    if (node.isBanned && !state.banned.has(node.info.id)) {
      node.isBanned = false
      for (const swarm of node.swarms.values()) swarm.setFlag(swarm.peerOf.get(node.index) as number, DISTRUSTED, false)
    }
  }
}

/** The parent is no holder of this piece any more. With no holder left, the digest may be what was wrong. */
function blame(state: State, swarm: Swarm, parent: number, piece: number): void {
  swarm.refusals.set(swarm.peers.node[parent] as number, 'local')
  swarm.blame(parent, piece)
  if (!hasBit(swarm.held, 0, piece)) swarm.unlearn(piece)
  lost(state, swarm, parent)
}

function ban(state: State, node: Node): void {
  state.counters.bans++
  state.banned.set(node.info.id, state.now + BAN_MS)
  node.corruptFor.clear()
  node.isBanned = true
  for (const swarm of [...node.swarms.values()]) {
    const peer = swarm.peerOf.get(node.index) as number
    if (swarm.lease?.peer === peer) endLease(state, swarm, 'holder_gone')
    swarm.setFlag(peer, DISTRUSTED, true)
    lost(state, swarm, peer)
  }
  for (const digest of node.holdings.keys()) dropHolder(state, node, digest)
}

/** Returns how many nodes say so by now. */
function reportUnreachable(state: State, parent: Node, child: Node): number {
  const { unreachableFor } = state.nodes
  const reporters = unreachableFor.get(parent.index) ?? new Set()
  unreachableFor.set(parent.index, reporters)
  return reporters.add(child.index).size
}

function pauseNode(state: State, node: Node): void {
  state.counters.pauses++
  const { lastPauses, unreachableFor } = state.nodes
  unreachableFor.delete(node.index)
  const pauseMs = Math.min(PAUSE_MS.most, Math.max(PAUSE_MS.first, 2 * (lastPauses.get(node.index) ?? 0)))
  lastPauses.set(node.index, pauseMs)
  node.isPaused = true
  node.pausedUntil = state.now + pauseMs
  refreshNode(state, node)
}
