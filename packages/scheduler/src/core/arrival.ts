import { learn } from './learning.ts'
import { leasedPieceDone } from './lease.ts'
import { hold, leaveIfUseless } from './membership.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'
import { endTransfer } from './transfers.ts'

/** The peer has the piece: all that follows from it. */
export function arrived(
  state: State,
  swarm: Swarm,
  peer: number,
  piece: number,
  parent: number,
  durationMs: number,
): void {
  hold(state, swarm, peer, piece)
  endTransfersOf(state, swarm, peer, piece, parent, durationMs)
  if (swarm.lease !== undefined) leasedPieceDone(state, swarm, peer, piece)
  leaveIfUseless(state, swarm, peer)
}

/** Ends all transfers of the piece, and learns from the one that brought it. */
function endTransfersOf(
  state: State,
  swarm: Swarm,
  peer: number,
  piece: number,
  parent: number,
  durationMs: number,
): void {
  const { flights, peers } = swarm
  let flight = -1
  let copies = 0
  let underWay = 0
  for (let other = flights.firstTo(peer); other !== -1; other = flights.nextTo(other)) {
    underWay++
    if (flights.piece(other) !== piece) continue
    copies++
    flight = other
  }
  if (flight === -1) return
  const from = flights.parent(flight)
  if (peers.zone[from] === peers.zone[peer]) peers.nearAt[peer] = state.now
  if (copies === 1 && peers.node[from] === parent) learn(state, swarm, flight, underWay, durationMs)
  for (; copies > 0; copies--) endTransfer(state, swarm, flights.find(peer, piece, -1), true)
}
