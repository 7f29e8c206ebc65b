import { clearBit, hasBit } from './bitset.ts'
import type { Source } from './sources.ts'
import type { LeaseOutcome, State } from './state.ts'
import type { Swarm } from './swarm.ts'
import { refreshReceiver } from './transfers.ts'

/** What one peer is to fetch from the origin on behalf of all. A swarm has one at the most. */
export interface Lease {
  readonly peer: number
  readonly node: number
  /** Where it fetches them. */
  readonly source: Source
  /** Bitset of the pieces that are still to come, and how many they are. */
  readonly pieces: Uint32Array
  left: number
  /** When the last piece came, and when that, or its node's word that it gets on, last did. */
  pieceAt: number
  progressAt: number
}

/** A node's word that its lease gets on counts for so many times `leaseStallMs`, if no piece follows. */
const WORD_STALLS = 60

/** A piece came from the origin; a lease with nothing left is done. */
export function leasedPieceDone(state: State, swarm: Swarm, peer: number, piece: number): void {
  const { lease } = swarm
  if (lease === undefined || lease.peer !== peer || !hasBit(lease.pieces, 0, piece)) return
  clearBit(lease.pieces, 0, piece)
  lease.left--
  lease.pieceAt = state.now
  lease.progressAt = state.now
  if (lease.left > 0) return
  endLease(state, swarm, 'done')
  swarm.clearRefusals()
}

/** The node says that bytes of its lease come: it keeps it, and those that wait wait on. Ignored when it has none. */
export function leaseGetsOn(state: State, swarm: Swarm, node: number): void {
  const { lease } = swarm
  if (lease?.node !== node || state.now - lease.pieceAt >= WORD_STALLS * state.options.leaseStallMs) return
  lease.progressAt = state.now
  swarm.progressAt = state.now
}

/** Takes the lease back; what it did not bring can be leased, or sent to its holder, again. */
export function endLease(state: State, swarm: Swarm, outcome: LeaseOutcome): void {
  const { lease } = swarm
  if (lease === undefined) return
  swarm.lease = undefined
  state.nodes.get(lease.node).leases--
  state.leaseTurns.ended()
  state.commands.lessees.add(lease.node)
  state.counters.leases[outcome]++
  for (let piece = 0; piece < swarm.pieces; piece++) {
    if (hasBit(lease.pieces, 0, piece) && !hasBit(swarm.peers.have, lease.peer * swarm.words, piece)) {
      swarm.untake(lease.peer, piece)
    }
  }
  refreshReceiver(state, swarm, lease.peer)
  state.touch(swarm)
  touchNext(state)
}

/** The swarm waits for no lease any more. */
export function leaveTurns(state: State, swarm: Swarm): void {
  if (!state.leaseTurns.isWaiting(swarm)) return
  state.leaseTurns.leave(swarm)
  touchNext(state)
}

/** Whose turn it is to have a lease is to take it. */
function touchNext(state: State): void {
  const { next } = state.leaseTurns
  if (next !== undefined) state.touch(next)
}
