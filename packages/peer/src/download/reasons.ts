import { ShoalError } from '@shoal/core'
import { LeaseFailed_Reason, PieceFailed_Reason } from '@shoal/proto'
import type { LaneErrorCode } from '../lane/errors.ts'

const PIECE_REASONS: Readonly<Partial<Record<LaneErrorCode, PieceFailed_Reason>>> = {
  unreachable: PieceFailed_Reason.UNREACHABLE,
  busy: PieceFailed_Reason.BUSY,
  notHeld: PieceFailed_Reason.NOT_HELD,
  corrupt: PieceFailed_Reason.CORRUPT,
  stalled: PieceFailed_Reason.STALLED,
  // Whatever answers there is not the parent, which so is not reached.
  handshake: PieceFailed_Reason.UNREACHABLE,
  otherPeer: PieceFailed_Reason.UNREACHABLE,
  self: PieceFailed_Reason.UNREACHABLE,
  protocol: PieceFailed_Reason.PROTOCOL,
}

const LEASE_REASONS: Readonly<Record<string, LeaseFailed_Reason>> = {
  UNAUTHORIZED: LeaseFailed_Reason.UNAUTHORIZED,
  DENIED: LeaseFailed_Reason.UNAUTHORIZED,
  NOT_ALLOWED: LeaseFailed_Reason.UNAUTHORIZED,
  NOT_FOUND: LeaseFailed_Reason.NOT_FOUND,
  SIZE_MISMATCH: LeaseFailed_Reason.SIZE_MISMATCH,
  local: LeaseFailed_Reason.LOCAL,
}

/** The contract's reason for a failed fetch from a parent; what is not the lane's fault is `LOCAL`. */
export function pieceFailureReason(code: LaneErrorCode): PieceFailed_Reason {
  return PIECE_REASONS[code] ?? PieceFailed_Reason.LOCAL
}

/** The contract's reason for a lease that could not be carried out; unknown failures count as an origin's outage. */
export function leaseFailureReason(error: unknown): LeaseFailed_Reason {
  return (error instanceof ShoalError ? LEASE_REASONS[error.code] : undefined) ?? LeaseFailed_Reason.UNAVAILABLE
}
