import { NodeRole } from '@shoal/proto'
import { ASSIGNMENT_STRIDE, type Commands } from '../core/commands.ts'
import type { SchedulingCore } from '../core/core.ts'
import { leaseReasonOf } from './reasons.ts'
import type { Session } from './session.ts'

/** Puts a tick's commands into the responses of the nodes they are for; a swarm or parent is named before it is used. */
export function deliver(core: SchedulingCore, commands: Commands, sessionAt: (node: number) => Session): void {
  for (const lease of commands.leases) {
    const session = sessionAt(lease.node)
    nameSwarm(core, session, lease.swarm)
    const { swarm, firstPiece, pieceCount, origin } = lease
    session.tell({ $case: 'lease', value: { swarm, firstPiece, pieceCount, origin } })
  }
  const { assignments } = commands
  for (let at = 0; at < assignments.length; at += ASSIGNMENT_STRIDE) {
    const session = sessionAt(assignments[at] as number)
    const swarm = assignments[at + 1] as number
    const piece = assignments[at + 2] as number
    const parent = sessionAt(assignments[at + 3] as number)
    nameSwarm(core, session, swarm)
    nameParent(session, parent)
    const sha256 = Buffer.from(core.sha256(swarm, piece))
    session.tell({ $case: 'assignment', value: { swarm, piece, parent: parent.number, sha256 } })
  }
  for (const { node, digest } of commands.maps) {
    sessionAt(node).tell({ $case: 'pieceMapWanted', value: { digest } })
  }
  for (const { node, swarm, reason } of commands.failures) {
    // It joined again since: what failed was its last join.
    if (core.isWaiting(node, swarm)) continue
    sessionAt(node).tell({ $case: 'swarmFailed', value: { swarm, reason: leaseReasonOf(reason) } })
  }
}

function nameSwarm(core: SchedulingCore, session: Session, swarm: number): void {
  if (session.swarms.has(swarm)) return
  session.swarms.add(swarm)
  const { digest, layout } = core.swarm(swarm)
  session.tell({ $case: 'swarm', value: { digest, swarm, size: layout.size } })
}

function nameParent(session: Session, parent: Session): void {
  if (session.parents.has(parent.number)) return
  session.parents.add(parent.number)
  const { id, laneHost, lanePort, role } = parent.introduction
  session.tell({
    $case: 'parent',
    value: {
      parent: parent.number,
      peerId: id,
      laneHost,
      lanePort,
      role: role === 'seed' ? NodeRole.SEED : NodeRole.PEER,
    },
  })
}
