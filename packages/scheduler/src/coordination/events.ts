import type { NodeEvent } from '@shoal/proto'
import { piecesOf } from '../core/bounds.ts'
import type { SchedulingCore } from '../core/core.ts'
import { GONE, ORIGIN } from '../core/events.ts'
import { MOST_PIECES } from '../core/limits.ts'
import { checkDigest, checkHave, checkJoin, checkSha256, checkSize } from './checks.ts'
import { leaseFailureOf, pieceFailureOf } from './reasons.ts'
import type { Session } from './session.ts'
import { violation } from './violation.ts'

const MOST_PIECES_DONE = 10_000

/** Finds the node that a number names as a parent. */
export interface Numbers {
  /** Index of the live node; undefined when it is gone. Throws SchedulerError when no node ever had the number. */
  indexOf(parent: number): number | undefined
}

/** Checks one event of a node and hands it to the core. Throws SchedulerError, which ends the stream. */
export function applyEvent(core: SchedulingCore, numbers: Numbers, session: Session, event: NodeEvent['event']): void {
  const node = session.index
  switch (event?.$case) {
    case 'holding':
      checkDigest('holding.digest', event.value.digest)
      checkSize('holding.size', event.value.size)
      core.holding(node, event.value.digest, event.value.size)
      return
    case 'holdingPart': {
      const { digest, size } = event.value
      checkDigest('holding_part.digest', digest)
      checkSize('holding_part.size', size)
      if (refuseOversized(core, session, digest, size)) return
      const swarm = core.holdingPart(node, digest, size, checkHave('holding_part.have', event.value.have, size))
      nameSwarm(session, swarm, digest, size)
      return
    }
    case 'withdrawn':
      checkDigest('withdrawn.digest', event.value.digest)
      core.withdrawn(node, event.value.digest)
      return
    case 'join': {
      const { digest, size } = event.value
      checkDigest('join.digest', digest)
      checkSize('join.size', size)
      if (refuseOversized(core, session, digest, size)) return
      const join = checkJoin(event.value)
      nameSwarm(session, core.join(node, join), join.digest, join.sizeBytes)
      return
    }
    case 'leave':
      checkDigest('leave.digest', event.value.digest)
      core.leave(node, event.value.digest)
      return
    case 'pieceDone': {
      const { swarm, piece, parent } = event.value
      checkSwarm(core, session, swarm)
      const sha256 = checkSha256('piece_done.sha256', event.value.sha256)
      if (parent === 0 && sha256 === undefined) core.pieceHeld(node, swarm, piece)
      else if (parent === 0) core.pieceDone(node, swarm, piece, ORIGIN, sha256)
      else core.pieceDone(node, swarm, piece, numbers.indexOf(parent) ?? GONE, undefined, event.value.durationUs / 1000)
      return
    }
    case 'pieceEnding': {
      const { swarm, piece, parent } = event.value
      checkSwarm(core, session, swarm)
      core.pieceEnding(node, swarm, piece, numbers.indexOf(parent) ?? GONE)
      return
    }
    case 'piecesDone': {
      const { swarm, pieces, parents, durationsUs } = event.value
      if (pieces.length === 0 || pieces.length !== parents.length || pieces.length !== durationsUs.length) {
        throw violation('pieces_done must name at least one piece, and a parent and a duration for each')
      }
      if (pieces.length > MOST_PIECES_DONE) throw violation(`pieces_done may name at most ${MOST_PIECES_DONE} pieces`)
      checkSwarm(core, session, swarm)
      for (let i = 0; i < pieces.length; i++) {
        const parent = numbers.indexOf(parents[i] as number) ?? GONE
        core.pieceDone(node, swarm, pieces[i] as number, parent, undefined, (durationsUs[i] as number) / 1000)
      }
      return
    }
    case 'pieceFailed': {
      const { swarm, piece, parent, reason } = event.value
      checkSwarm(core, session, swarm)
      core.pieceFailed(node, swarm, piece, numbers.indexOf(parent) ?? GONE, pieceFailureOf(reason))
      return
    }
    case 'leaseFailed':
      checkSwarm(core, session, event.value.swarm)
      core.leaseFailed(node, event.value.swarm, leaseFailureOf(event.value.reason))
      return
    case 'leaseProgress':
      checkSwarm(core, session, event.value.swarm)
      core.leaseProgress(node, event.value.swarm)
      return
    case 'pieceMap':
      checkDigest('piece_map.digest', event.value.digest)
      checkSize('piece_map.size', event.value.size)
      core.pieceMap(node, event.value.digest, event.value.size, event.value.sha256s)
      return
    case 'ping':
      session.tell({ $case: 'pong', value: {} })
      return
    case 'hello':
      throw violation('hello may be sent once, as the first event')
    case undefined:
      throw violation('an event is empty, or of a kind that this scheduler does not know')
  }
}

/** Nothing that takes a step, or a byte, for each piece may be done with a size before. Returns whether it was refused. */
function refuseOversized(core: SchedulingCore, session: Session, digest: string, size: number): boolean {
  if (piecesOf(size) <= MOST_PIECES) return false
  nameSwarm(session, core.refuse(session.index, 'blobSize'), digest, size)
  return true
}

function nameSwarm(session: Session, swarm: number, digest: string, size: number): void {
  session.swarms.add(swarm)
  session.tell({ $case: 'swarm', value: { digest, swarm, size } })
}

/** A number that was a swarm's once is fine: the node could not know yet that the swarm is gone. */
function checkSwarm(core: SchedulingCore, session: Session, swarm: number): void {
  if (session.swarms.has(swarm)) return
  if (core.swarms.has(swarm) || !core.wasSwarm(swarm)) throw violation(`swarm ${swarm} was not named on this stream`)
}
