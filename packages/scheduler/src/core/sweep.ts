import { Candidates } from './choice.ts'
import { forgive, transferFailed } from './faults.ts'
import { checkStall, failPeer } from './leasing.ts'
import { leaveIfUseless, unwant } from './membership.ts'
import { WANTS } from './peer-table.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'

/** What depends on time alone: transfers and leases that hang, back-offs that are over, peers that nothing can serve. */
export function sweep(state: State): void {
  state.avoidance.sweep(state.now)
  forgive(state)
  for (const swarm of state.swarms.values()) {
    if (swarm.wanting === 0 && swarm.lease === undefined) continue
    // A lease that is taken away now is another node's by the end of this tick.
    const isServed = swarm.lease !== undefined || state.leaseTurns.isWaiting(swarm)
    checkStall(state, swarm)
    checkTransfers(state, swarm)
    retireSatisfied(state, swarm)
    failUnlucky(state, swarm)
    if (!isServed && swarm.inquiry.node === -1) failStarved(state, swarm)
    swarm.isStarved = isStarved(state, swarm)
    reassure(state, swarm)
    if (swarm.receiverCount > 0 || swarm.inquiry.node !== -1) state.touch(swarm)
  }
}

function checkTransfers(state: State, swarm: Swarm): void {
  const { flights } = swarm
  const oldest = state.now - state.options.assignmentTimeoutMs
  while (flights.oldest !== -1 && flights.at(flights.oldest) <= oldest) {
    transferFailed(state, swarm, flights.oldest, 'timeout')
  }
}

/** Whether a node gets nothing, in this swarm or another, for so long although it could. */
const STARVED_MS = 1_000

function isStarved(state: State, swarm: Swarm): boolean {
  const { peers } = swarm
  for (const { receivers } of swarm.zones) {
    for (let i = 0; i < receivers.size; i++) {
      const peer = receivers.members[i] as number
      if (state.now - (peers.progressAt[peer] as number) < STARVED_MS) continue
      if (state.nodes.table.asChild.isIdle(peers.node[peer] as number)) return true
    }
  }
  return false
}

/** Who has waited for so long is told, and so often, that it is worth it: a swarm that got on so lately. */
const REASSURE_MS = 2_000
const ALIVE_MS = 5_000

/**
 * Tells peers to which nothing comes that they may wait on: when all have to wait, for a slow origin or for their turn,
 * they would all go to the origin themselves. Not those to which transfers fail: the others' luck is none of theirs.
 */
function reassure(state: State, swarm: Swarm): void {
  if (state.now - swarm.reassuredAt < REASSURE_MS) return
  if (state.now - swarm.progressAt >= ALIVE_MS && !state.leaseTurns.isWaiting(swarm)) return
  swarm.reassuredAt = state.now
  const { peers } = swarm
  for (let peer = 0; peer < peers.end; peer++) {
    if (!peers.is(peer, WANTS) || (peers.failures[peer] as number) > 0) continue
    if (state.now - (peers.progressAt[peer] as number) < REASSURE_MS) continue
    state.commands.reassurances.push({ node: peers.node[peer] as number, swarm: swarm.id })
  }
}

/** A peer that says it has every piece waits for nothing, even where it is not believed. */
function retireSatisfied(state: State, swarm: Swarm): void {
  const { peers } = swarm
  for (let peer = 0; peer < peers.end; peer++) {
    if (!peers.is(peer, WANTS) || peers.takenCount[peer] !== swarm.pieces) continue
    if (peers.downloads[peer] !== 0 || swarm.lease?.peer === peer) continue
    unwant(state, swarm, peer)
    leaveIfUseless(state, swarm, peer)
  }
}

/** A peer with so many failures in a row, and none but failures for so many times a transfer's time, is given up. */
const MOST_FAILURES = 8
const MOST_TIMEOUTS = 4

/** A peer to which every transfer fails is to use another way. */
function failUnlucky(state: State, swarm: Swarm): void {
  const { peers } = swarm
  const oldest = state.now - MOST_TIMEOUTS * state.options.assignmentTimeoutMs
  for (let peer = 0; peer < peers.end; peer++) {
    if (!peers.is(peer, WANTS) || (peers.failures[peer] as number) < MOST_FAILURES) continue
    if ((peers.progressAt[peer] as number) <= oldest) failPeer(state, swarm, peer, 'unavailable')
  }
}

/** A peer that got nothing for as long as a transfer may take, and that no live node can serve, is to use another way. */
function failStarved(state: State, swarm: Swarm): void {
  const { peers } = swarm
  const oldest = state.now - state.options.assignmentTimeoutMs
  for (const { receivers } of swarm.zones) {
    for (let i = receivers.size - 1; i >= 0; i--) {
      const peer = receivers.members[i] as number
      const isWaiting = peers.downloads[peer] === 0 && (peers.progressAt[peer] as number) <= oldest
      if (isWaiting && !hasSource(state, swarm, peer)) failPeer(state, swarm, peer, 'unavailable')
    }
  }
}

function hasSource(state: State, swarm: Swarm, child: number): boolean {
  const index = swarm.peers.node[child] as number
  const candidates = new Candidates()
  for (const [node, parent] of swarm.peerOf) {
    if (parent === child || state.nodes.get(node).isPaused || !candidates.load(swarm, parent, child, undefined))
      continue
    if (!state.avoidance.isAvoided(index, node, state.now)) return true
  }
  return false
}
