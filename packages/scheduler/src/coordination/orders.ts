import type { Commands } from '../core/commands.ts'
import type { SchedulingCore } from '../core/core.ts'
import type { Swarm } from '../core/swarm.ts'
import { swarmReasonOf } from './reasons.ts'
import type { Session } from './session.ts'

/** Puts a tick's commands into the responses of the nodes they are for; a swarm or parent is named before it is used. */
export function deliver(core: SchedulingCore, commands: Commands, sessionAt: (node: number) => Session): void {
  for (const { node, swarm } of commands.revocations) {
    sessionAt(node).tell({ $case: 'leaseTaken', value: { swarm } })
  }
  for (const lease of commands.leases) {
    const session = sessionAt(lease.node)
    nameSwarm(core, session, lease.swarm)
    const { swarm, firstPiece, pieceCount, origin } = lease
    session.tell({ $case: 'lease', value: { swarm, firstPiece, pieceCount, origin } })
  }
  const { assignments } = commands
  let swarm: Swarm | undefined
  for (let at = 0; at < assignments.count; at++) {
    const session = sessionAt(assignments.child(at))
    const id = assignments.swarm(at)
    if (swarm?.id !== id) swarm = core.swarm(id)
    nameSwarm(core, session, id)
    session.assign(id, assignments.piece(at), sessionAt(assignments.parent(at)), swarm.digests)
  }
  for (const { node, digest } of commands.maps) {
    sessionAt(node).tell({ $case: 'pieceMapWanted', value: { digest } })
  }
  for (const { node, swarm } of commands.reassurances) {
    if (!core.swarms.has(swarm)) continue
    nameSwarm(core, sessionAt(node), swarm)
    sessionAt(node).tell({ $case: 'swarmProgress', value: { swarm } })
  }
  for (const { node, reason } of commands.refusals) sessionAt(node).tell({ $case: 'refused', value: { reason } })
  for (const { node, swarm, reason } of commands.failures) {
    // It joined again since: what failed was its last join.
    if (core.isWaiting(node, swarm)) continue
    sessionAt(node).tell({ $case: 'swarmFailed', value: { swarm, reason: swarmReasonOf(reason) } })
  }
}

function nameSwarm(core: SchedulingCore, session: Session, swarm: number): void {
  if (session.swarms.has(swarm)) return
  session.swarms.add(swarm)
  const { digest, layout } = core.swarm(swarm)
  session.tell({ $case: 'swarm', value: { digest, swarm, size: layout.size } })
}
