import { hasBit, setBit } from './bitset.ts'
import { isRefuted, nextCandidate } from './candidates.ts'
import type { LeaseFailure } from './commands.ts'
import { endLease, type Lease, leaveTurns } from './lease.ts'
import { dissolve, leaveIfUseless, peerFor, unwant } from './membership.ts'
import { INJECTS } from './peer-table.ts'
import type { Source } from './sources.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'
import { refreshReceiver, refreshSender } from './transfers.ts'

/** Sees that every piece that no live node can give is being fetched from the origin by exactly one node. */
export function leaseMissing(state: State, swarm: Swarm): void {
  if (swarm.wanting === 0 || state.now < swarm.leasesFrom || !hasMissing(swarm)) {
    leaveTurns(state, swarm)
    return
  }
  if (swarm.lease === undefined && !state.leaseTurns.isTurnOf(swarm)) return
  const holder = swarm.lease ?? grant(state, swarm)
  if (holder !== undefined) extend(state, swarm, holder)
  else failWaiting(state, swarm, undefined)
  leaveTurns(state, swarm)
}

/**
 * The holder can not carry the lease out. What it found is of the source it was given: where the origin said no, only
 * those that named this source are told, and another node's source is next.
 */
export function leaseFailed(state: State, swarm: Swarm, node: number, reason: LeaseFailure): void {
  if (swarm.lease?.node !== node) return
  const { peer, source } = swarm.lease
  if (reason === 'local') swarm.refusals.set(node, reason)
  else source.refusals.set(node, reason)
  endLease(state, swarm, reason)
  if (reason === 'digest_mismatch') {
    // What was fetched with it is spread by now.
    failWaiting(state, swarm, reason)
    dissolve(state, swarm)
    return
  }
  if (reason === 'size_mismatch' || isRefuted(state, swarm, source)) failClaimants(state, swarm, source, reason)
  if (swarm.peerAt(node) === peer) leaveIfUseless(state, swarm, peer)
}

/** What a lease brings is looked at over so many times `leaseStallMs`. */
const RATE_STALLS = 3

/** Takes a lease away that brought nothing for too long. Those that wait are told once to wait for the next one. */
export function checkStall(state: State, swarm: Swarm): void {
  const { lease } = swarm
  if (lease === undefined) return
  if (state.now - lease.progressAt < state.options.leaseStallMs) {
    checkRate(state, swarm, lease)
    return
  }
  lease.source.refusals.set(lease.node, 'unavailable')
  if (!swarm.hasStalled) swarm.progressAt = state.now
  swarm.hasStalled = true
  revoke(state, swarm, lease, 'stalled')
}

/**
 * Takes a lease away that brings too little while a swarm of another registry waits for the turn. It has another turn
 * when nobody else wants it, with the same node too: that is not to blame for it. Where nobody waits a slow origin is
 * better than none.
 */
function checkRate(state: State, swarm: Swarm, lease: Lease): void {
  const { leaseStallMs, leastLeaseRate = 0 } = state.options
  const ms = state.now - lease.countedFrom
  if (ms < RATE_STALLS * leaseStallMs) return
  const isSlow = lease.bytes * 1000 < leastLeaseRate * ms
  lease.countedFrom = state.now
  lease.bytes = 0
  if (isSlow && state.leaseTurns.isWantedByOthers(lease.source.origin.registry)) revoke(state, swarm, lease, 'slow')
}

function revoke(state: State, swarm: Swarm, lease: Lease, why: 'stalled' | 'slow'): void {
  state.registries.lapsed(lease.source.origin.registry, state.now)
  state.commands.revocations.push({ node: lease.node, swarm: swarm.id, digest: swarm.digest, why })
  endLease(state, swarm, why)
  leaveIfUseless(state, swarm, lease.peer)
}

/**
 * Nobody is to wait for this swarm any more; a later join starts over.
 * @param reason undefined: for each that for which its source last failed
 */
function failWaiting(state: State, swarm: Swarm, reason: LeaseFailure | undefined): void {
  const last = [...swarm.refusals.values()].at(-1) ?? 'unavailable'
  for (const source of swarm.sources.byPromise()) {
    failClaimants(state, swarm, source, reason ?? [...source.refusals.values()].at(-1) ?? last)
  }
  swarm.clearRefusals()
}

function failClaimants(state: State, swarm: Swarm, source: Source, reason: LeaseFailure): void {
  for (const peer of [...source.claimants]) failPeer(state, swarm, peer, reason)
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
  const candidate = nextCandidate(state, swarm)
  if (candidate === undefined) return undefined
  const { node, source } = candidate
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
  const asker = state.leaseTurns.began(swarm, source.origin.registry, state.now)
  state.commands.lessees.add(node.index)
  state.counters.leases.granted++
  const lease = {
    peer,
    node: node.index,
    asker,
    source,
    pieces: new Uint32Array(swarm.words),
    left: 0,
    pieceAt: state.now,
    progressAt: state.now,
    countedFrom: state.now,
    bytes: 0,
  }
  swarm.lease = lease
  swarm.lessees.add(node.index)
  if (node.info.role === 'seed') source.isTriedBySeeds = true
  return lease
}

/** Adds what is missing to the lease, one command for each run of pieces. */
function extend(state: State, swarm: Swarm, lease: Lease): void {
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
      origin: lease.source.origin,
    })
  }
  refreshReceiver(state, swarm, lease.peer)
}
