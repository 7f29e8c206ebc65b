import { LeaseFailed_Reason, PieceFailed_Reason } from '@shoal/proto'
import type { LeaseFailure, SwarmFailure } from '../core/commands.ts'
import type { PieceFailure } from '../core/state.ts'
import { violation } from './violation.ts'

const PIECE_FAILURES: ReadonlyMap<number, PieceFailure> = new Map([
  [PieceFailed_Reason.UNREACHABLE, 'unreachable'],
  [PieceFailed_Reason.BUSY, 'busy'],
  [PieceFailed_Reason.NOT_HELD, 'not_held'],
  [PieceFailed_Reason.CORRUPT, 'corrupt'],
  [PieceFailed_Reason.STALLED, 'stalled'],
  [PieceFailed_Reason.LOCAL, 'local'],
  [PieceFailed_Reason.PROTOCOL, 'protocol'],
])

const LEASE_REASONS: Readonly<Record<LeaseFailure, LeaseFailed_Reason>> = {
  unauthorized: LeaseFailed_Reason.UNAUTHORIZED,
  not_found: LeaseFailed_Reason.NOT_FOUND,
  unavailable: LeaseFailed_Reason.UNAVAILABLE,
  size_mismatch: LeaseFailed_Reason.SIZE_MISMATCH,
  local: LeaseFailed_Reason.LOCAL,
  digest_mismatch: LeaseFailed_Reason.DIGEST_MISMATCH,
}

const LEASE_FAILURES: ReadonlyMap<number, LeaseFailure> = new Map(
  Object.entries(LEASE_REASONS).map(([failure, reason]) => [reason, failure as LeaseFailure]),
)

export function pieceFailureOf(reason: PieceFailed_Reason): PieceFailure {
  const failure = PIECE_FAILURES.get(reason)
  if (failure === undefined) throw violation(`piece_failed.reason ${reason} is not a reason`)
  return failure
}

export function leaseFailureOf(reason: LeaseFailed_Reason): LeaseFailure {
  const failure = LEASE_FAILURES.get(reason)
  if (failure === undefined) throw violation(`lease_failed.reason ${reason} is not a reason`)
  return failure
}

export function swarmReasonOf(failure: SwarmFailure): LeaseFailed_Reason {
  return failure === 'refused' ? LeaseFailed_Reason.REFUSED : LEASE_REASONS[failure]
}
