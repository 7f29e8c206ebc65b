import { ShoalError } from '@shoal/core'

/** Why a piece did not come over the lane; each one but `aborted` is a reason of the proto's PieceFailed. */
export const LANE_ERROR_CODES = [
  'unreachable',
  'busy',
  'notHeld',
  'corrupt',
  'stalled',
  'protocol',
  'local',
  'aborted',
] as const

/**
 * - `unreachable`: no connection to the parent, or it broke; `data.isUnreached`: the lane's port is not to be reached
 * - `busy`: the parent has no upload slot free
 * - `notHeld`: the parent does not hold the piece, or can not read it
 * - `corrupt`: the bytes have another sha256 than asked for
 * - `stalled`: no byte came for too long
 * - `protocol`: the parent is not who it should be, or broke the lane protocol
 * - `local`: this node could not store or read; `data.systemCode` has the system's code
 * - `aborted`: the caller, or the pool's stop, ended it
 */
export type LaneErrorCode = (typeof LANE_ERROR_CODES)[number]

/** Errors of the lane and of the worker pool around it. */
export class LaneError extends ShoalError<LaneErrorCode> {}
