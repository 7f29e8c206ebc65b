import { hasBit, setBit } from './bitset.ts'
import type { LeaseFailure } from './commands.ts'
import { fnv1a } from './hash.ts'
import { endLease, type Lease, leaveTurns } from './lease.ts'
import { dissolve, leaveIfUseless, peerFor, unwant } from './membership.ts'
import type { Node } from './nodes.ts'
import { INJECTS, WANTS } from './peer-table.ts'
import type { State } from './state.ts'
import type { Origin, Swarm } from './swarm.ts'
import { refreshReceiver, refreshSender } from './transfers.ts'

/**
 * Sees that every piece that no live node can give is being fetched from the origin by exactly one node. Candidates
 * are the live seeds, those first that have some of the blob (another scheduler had them fetch it, and they still may),
 * then the least loaded (ties by rendezvous hash, so that several schedulers agree), then the nodes that wait, each with
 * its own client's credentials, the least loaded first and of those the one that has the most: it may have had the lease
 * from another scheduler. Each once, until a lease succeeds or all have failed.
 */
export function leaseMissing(state: State, swarm: Swarm): void {
  if (swarm.wanting === 0 || state.now < swarm.leasesFrom || !hasMissing(swarm)) {
    leaveTurns(state, swarm)
    return
  }
  if (swarm.lease === undefined && !state.leaseTurns.isTurnOf(swarm)) return
  const holder = swarm.lease ?? grant(state, swarm)
  if (holder !== undefined) extend(state, swarm, holder)
  else failWaiting(state, swarm, [...swarm.refusals.values()].at(-1) ?? 'unavailable')
  leaveTurns(state, swarm)
}

/** The holder can not carry the lease out. */
export function leaseFailed(state: State, swarm: Swarm, node: number, reason: LeaseFailure): void {
  if (swarm.lease?.node !== node) return
  const { peer } = swarm.lease
  swarm.refusals.set(node, reason)
  endLease(state, swarm, reason)
  if (reason === 'size_mismatch' || reason === 'digest_mismatch') {
    failWaiting(state, swarm, reason)
    dissolve(state, swarm)
  } else leaveIfUseless(state, swarm, peer)
}

/** Takes a lease away that brought nothing for too long. Those that wait are told once to wait for the next one. */
export function checkStall(state: State, swarm: Swarm): void {
  const { lease } = swarm
  if (lease === undefined || state.now - lease.progressAt < state.options.leaseStallMs) return
  swarm.refusals.set(lease.node, 'unavailable')
  if (swarm.refusals.size === 1) swarm.progressAt = state.now
  state.commands.revocations.push({ node: lease.node, swarm: swarm.id, digest: swarm.digest })
  endLease(state, swarm, 'stalled')
  leaveIfUseless(state, swarm, lease.peer)
}

/** Nobody is to wait for this swarm any more; a later join starts over. */
function failWaiting(state: State, swarm: Swarm, reason: LeaseFailure): void {
  for (let peer = 0; peer < swarm.peers.end; peer++) {
    if (swarm.peers.node[peer] !== -1 && swarm.peers.is(peer, WANTS)) failPeer(state, swarm, peer, reason)
  }
  swarm.refusals.clear()
}

/** This peer is not to wait for this swarm any more. What it holds stays. */
export function failPeer(state: State, swarm: Swarm, peer: number, reason: LeaseFailure): void {
  state.commands.failures.push({ node: swarm.peers.node[peer] as number, swarm: swarm.id, reason })
  if (swarm.lease?.peer === peer) endLease(state, swarm, reason)
  unwant(state, swarm, peer)
  leaveIfUseless(state, swarm, peer)
}

/** Word `at` of the pieces that nobody has, or that nobody could say the digest of, and that are not leased. */
function missingWord(swarm: Swarm, at: number): number {
  const held = swarm.held[at] as number
  const usable = swarm.inquiry.isExhausted ? held & (swarm.known[at] as number) : held
  const all = (at + 1) << 5 <= swarm.pieces ? -1 : (1 << (swarm.pieces & 31)) - 1
  return all & ~usable & ~(swarm.lease?.pieces[at] ?? 0)
}

function hasMissing(swarm: Swarm): boolean {
  for (let at = 0; at < swarm.words; at++) if (missingWord(swarm, at) !== 0) return true
  return false
}

function grant(state: State, swarm: Swarm): Lease | undefined {
  const node = nextCandidate(state, swarm)
  if (node === undefined) return undefined
  const peer = peerFor(state, swarm, node)
  for (const injector of [...swarm.injectors]) {
    const other = state.nodes.get(swarm.peers.node[injector] as number)
    if (other !== node && other.info.role === 'peer') {
      swarm.setFlag(injector, INJECTS, false)
      refreshSender(state, swarm, injector)
    }
  }
  swarm.setFlag(peer, INJECTS, true)
  refreshSender(state, swarm, peer)
  node.leases++
  state.leaseTurns.began()
  state.commands.lessees.add(node.index)
  state.counters.leases.granted++
  const lease = {
    peer,
    node: node.index,
    pieces: new Uint32Array(swarm.words),
    left: 0,
    pieceAt: state.now,
    progressAt: state.now,
  }
  swarm.lease = lease
  return lease
}

/** Adds what is missing to the lease, one command for each run of pieces. */
function extend(state: State, swarm: Swarm, lease: Lease): void {
  const origin = swarm.origins[lease.peer] ?? anyOrigin(swarm)
  const missing = new Uint32Array(swarm.words)
  for (let at = 0; at < swarm.words; at++) missing[at] = missingWord(swarm, at)
  for (let piece = 0; piece < swarm.pieces; piece++) {
    if (!hasBit(missing, 0, piece)) continue
    const firstPiece = piece
    for (; piece < swarm.pieces && hasBit(missing, 0, piece); piece++) {
      setBit(lease.pieces, 0, piece)
      lease.left++
      swarm.take(lease.peer, piece)
    }
    state.commands.leases.push({
      node: lease.node,
      swarm: swarm.id,
      firstPiece,
      pieceCount: piece - firstPiece,
      origin,
    })
  }
  refreshReceiver(state, swarm, lease.peer)
}

/** The origin of the first peer that waits: seeds have none of their own. */
function anyOrigin(swarm: Swarm): Origin {
  for (const origin of swarm.origins) if (origin !== undefined) return origin
  throw new RangeError(`swarm ${swarm.id} has missing pieces but nobody who waits for them`)
}

function nextCandidate(state: State, swarm: Swarm): Node | undefined {
  const { refusals } = swarm
  // Registries answer 404 to who may not see a repository: one seed's "not found" holds for all seeds, no client's does.
  const isUnseen = [...refusals].some(
    ([node, reason]) => reason === 'not_found' && state.nodes.find(node)?.info.role === 'seed',
  )
  let best: Node | undefined
  for (const node of isUnseen ? [] : state.nodes.seeds) {
    if (node.isBanned || refusals.has(node.index)) continue
    if (best === undefined || isBefore(swarm, node, best)) best = node
  }
  if (best !== undefined) return best
  for (const [index, peer] of swarm.peerOf) {
    const node = state.nodes.get(index)
    if (!swarm.peers.is(peer, WANTS) || node.isBanned || refusals.has(index)) continue
    if (isUnseen && node.info.role === 'seed') continue
    if (best === undefined || node.leases < best.leases) best = node
    else if (node.leases === best.leases && heldBy(swarm, node) > heldBy(swarm, best)) best = node
  }
  return best
}

function isBefore(swarm: Swarm, a: Node, b: Node): boolean {
  const hasBegun = heldBy(swarm, a) > 0
  if (hasBegun !== heldBy(swarm, b) > 0) return hasBegun
  if (a.leases !== b.leases) return a.leases < b.leases
  const x = rendezvousHash(swarm.digest, a.info.id)
  const y = rendezvousHash(swarm.digest, b.info.id)
  return x === y ? a.info.id < b.info.id : x > y
}

/** Pieces of the swarm that a node holds. */
function heldBy(swarm: Swarm, node: Node): number {
  const peer = swarm.peerAt(node.index)
  return peer === -1 ? 0 : (swarm.peers.haveCount[peer] as number)
}

/** Mixed (murmur3's finalizer) so that names that differ in the last letter spread. */
function rendezvousHash(digest: string, id: string): number {
  let hash = fnv1a(digest, id)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
