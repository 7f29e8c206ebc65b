import { LeaseFailed_Reason } from '@shoal/proto'
import type { SwarmFailure } from './events.ts'

const NAMES: ReadonlyMap<number, SwarmFailure> = new Map([
  [LeaseFailed_Reason.UNAUTHORIZED, 'unauthorized'],
  [LeaseFailed_Reason.NOT_FOUND, 'not_found'],
  [LeaseFailed_Reason.UNAVAILABLE, 'unavailable'],
  [LeaseFailed_Reason.SIZE_MISMATCH, 'size_mismatch'],
  [LeaseFailed_Reason.LOCAL, 'local'],
  [LeaseFailed_Reason.DIGEST_MISMATCH, 'digest_mismatch'],
  [LeaseFailed_Reason.REFUSED, 'refused'],
])

/** The name of a reason; `unknown` for one that only a later release has. */
export function swarmFailureOf(reason: LeaseFailed_Reason): SwarmFailure {
  return NAMES.get(reason) ?? 'unknown'
}
