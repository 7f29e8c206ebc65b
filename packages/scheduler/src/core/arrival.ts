import { learn } from './learning.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'
import { endTransfer } from './transfers.ts'

/** The piece is there: ends all transfers of it, and learns from the one that brought it. */
export function arrived(
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
