import { slotsFor } from './slots.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'
import { claimSlots, refreshNode, refreshReceiver, refreshSender } from './transfers.ts'

/** Slots are taken back only when λ is so much below what they are for. */
const HYSTERESIS = 1.25

/**
 * Learns from a transfer that has ended how long transfers take here, and whether its ends are slower than others. A
 * piece of less than full length says nothing.
 * @param underWay transfers to the child, this one included
 * @param durationMs from request to verified, as the child says; never believed to be more than the time that passed
 */
export function learn(state: State, swarm: Swarm, flight: number, underWay: number, durationMs: number): void {
  const { flights, peers, pace, layout } = swarm
  const piece = flights.piece(flight)
  const ageMs = state.now - flights.at(flight)
  const tookMs = Math.min(durationMs, ageMs)
  if (!(tookMs > 0) || layout.length(piece) < layout.pieceSize) return
  const { nodes } = state
  const { table } = nodes
  const child = peers.node[flights.child(flight)] as number
  const parent = peers.node[flights.parent(flight)] as number
  const { asChild, asParent } = table
  asParent.took(parent, tookMs / layout.pieceSize)
  asChild.took(child, tookMs / layout.pieceSize)
  // Of what was assigned and is not reported, this part is under way and shares the link.
  const share = Math.max(1, (underWay * tookMs) / ageMs)
  pace.sample(tookMs, ageMs, share, !flights.takesChildSlot(flight))
  if (pace.isReviewDue) review(state, swarm)
  if (!pace.isSettled) return
  const ratio = pace.ratio(tookMs)
  // Who has all its slots is not to blame for a transfer with somebody who is known to be slow.
  const isChildJudged = asChild.isReduced(child) || !asParent.isReduced(parent)
  const isParentJudged = asParent.isReduced(parent) || !asChild.isReduced(child)
  if (isChildJudged && asChild.sample(child, ratio, table.slots[child] as number)) {
    refreshNode(state, nodes.get(child))
  }
  if (isParentJudged && asParent.sample(parent, ratio, table.parentSlots(parent))) {
    refreshNode(state, nodes.get(parent))
  }
}

/** Gives the swarm the slots that the latency of control calls for. */
function review(state: State, swarm: Swarm): void {
  const { pieces, pace, layout } = swarm
  state.usual = pace.usual(layout.pieceSize)
  const slots = slotsFor(pieces, pace.lambda)
  if (slots === swarm.slots || (slots < swarm.slots && slotsFor(pieces, pace.lambda * HYSTERESIS) >= swarm.slots)) {
    return
  }
  swarm.slots = slots
  for (const [index, peer] of swarm.peerOf) {
    claimSlots(state, state.nodes.get(index))
    refreshSender(state, swarm, peer)
    refreshReceiver(state, swarm, peer)
  }
  state.touch(swarm)
}
