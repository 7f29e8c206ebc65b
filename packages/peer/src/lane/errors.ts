import { ShoalError } from '@shoal/core'

/** Why a piece did not come over the lane. */
export const LANE_ERROR_CODES = [
  'unreachable',
  'busy',
  'notHeld',
  'corrupt',
  'stalled',
  'handshake',
  'otherPeer',
  'self',
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
 * - `handshake`: something answers where the parent's lane should be, but TLS, its certificate, or the hello failed
 * - `otherPeer`: another node answers there; `data.expected` and `data.found` are the peer ids
 * - `self`: this node itself answers there
 * - `protocol`: the parent broke the lane protocol after the hello
 * - `local`: this node could not store or read; `data.systemCode` has the system's code
 * - `aborted`: the caller, or the pool's stop, ended it
 */
export type LaneErrorCode = (typeof LANE_ERROR_CODES)[number]

/** What each failure says of the way to a parent, for people. */
export const LANE_TROUBLES: Readonly<Record<LaneErrorCode, string>> = {
  unreachable: 'no connection to the parent, or it broke: see whether its lane port is open to this node',
  busy: 'the parent has no upload slot free',
  notHeld: 'the parent does not hold the piece, or could not read it',
  corrupt: 'the parent sent wrong bytes: check its disk and memory',
  stalled: 'the parent sent nothing for too long',
  handshake: 'something answers there that is no lane of ours, or TLS failed: see what listens on the port',
  otherPeer: 'another node answers there: two nodes give out one address; see lane.advertiseHost of both',
  self: 'this node itself answers there: the parent gives out an address of its own host only; set its lane.advertiseHost',
  protocol: 'the parent broke the lane protocol: see whether both nodes run the same release',
  local: 'this node could not store or read the piece',
  aborted: 'it is not wanted any more',
}

/** Errors of the lane and of the worker pool around it. */
export class LaneError extends ShoalError<LaneErrorCode> {}
