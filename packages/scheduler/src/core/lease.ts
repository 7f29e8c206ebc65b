import { clearBit, hasBit } from './bitset.ts'
import type { Node } from './nodes.ts'
import type { Source } from './sources.ts'
import type { LeaseOutcome, State } from './state.ts'
import type { Swarm } from './swarm.ts'
import { refreshReceiver } from './transfers.ts'

/** What one peer is to fetch from the origin on behalf of all. A swarm has one at the most. */
export interface Lease {
  readonly peer: number
  readonly node: number
  /** On whose word. */
  readonly asker: Node
  /** Where it fetches them. */
  readonly source: Source
  /** Bitset of the pieces that are still to come, and how many they are. */
  readonly pieces: Uint32Array
  left: number
  /** When the last piece came, and when that, or its node's word that it gets on, last did. */
  pieceAt: number
  progressAt: number
  /** Since when it is counted what comes, and how many bytes that is. */
  countedFrom: number
  bytes: number
}

/** A node's word that its lease gets on counts for so many times `leaseStallMs`, if no piece follows. */
const WORD_STALLS = 60
/**
 * What a node's word stands for, which it gives every two seconds at most: so many bytes came, or it held them back
 * itself. So with words alone a lease is taken to bring up to 128 KiB a second.
 */
const WORD_BYTES = 256 * 1024

/** A piece came from the origin; a lease with nothing left is done. */
export function leasedPieceDone(state: State, swarm: Swarm, peer: number, piece: number): void {
  const { lease } = swarm
  if (lease === undefined || lease.peer !== peer || !hasBit(lease.pieces, 0, piece)) return
  clearBit(lease.pieces, 0, piece)
  lease.left--
  lease.pieceAt = state.now
  lease.progressAt = state.now
  lease.bytes += swarm.layout.length(piece)
  if (lease.left > 0) return
  state.registries.succeeded(lease.source.origin.registry)
  endLease(state, swarm, 'done')
  swarm.clearRefusals()
}

/** The node says that bytes of its lease come: it keeps it, and those that wait wait on. Ignored when it has none. */
export function leaseGetsOn(state: State, swarm: Swarm, node: number): void {
  const { lease } = swarm
  if (lease?.node !== node || state.now - lease.pieceAt >= WORD_STALLS * state.options.leaseStallMs) return
  lease.progressAt = state.now
  lease.bytes += WORD_BYTES
  swarm.progressAt = state.now
}

/** Takes the lease back; what it did not bring can be leased, or sent to its holder, again. */
export function endLease(state: State, swarm: Swarm, outcome: LeaseOutcome): void {
  const { lease } = swarm
  if (lease === undefined) return
  swarm.lease = undefined
  state.nodes.get(lease.node).leases--
  const next = state.leaseTurns.ended(lease.asker, lease.source.origin.registry)
  state.commands.lessees.add(lease.node)
  state.counters.leases[outcome]++
  for (let piece = 0; piece < swarm.pieces; piece++) {
    if (hasBit(lease.pieces, 0, piece) && !hasBit(swarm.peers.have, lease.peer * swarm.words, piece)) {
      swarm.untake(lease.peer, piece)
    }
  }
  refreshReceiver(state, swarm, lease.peer)
  state.touch(swarm)
  for (const other of next) state.touch(other)
}

/** The swarm waits for no lease any more. */
export function leaveTurns(state: State, swarm: Swarm): void {
  if (!state.leaseTurns.isWaiting(swarm)) return
  state.leaseTurns.leave(swarm)
  const { next } = state.leaseTurns
  if (next !== undefined) state.touch(next)
}
