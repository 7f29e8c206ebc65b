/** Its other nodes come with what they have within this time. */
const HANDOVER_MS = 250
/** Of a scheduler that has just started, nodes come one after the other, as they dial again. */
const RESTART_HANDOVER_MS = 2_000
const JUST_STARTED_MS = 10_000

/**
 * How long nothing of a new swarm counts as missing whose first node has a part of the blob: the swarm was another
 * scheduler's until now, or this one's before it started anew. In milliseconds.
 * @param uptimeMs how long this scheduler has been there
 */
export function handoverMs(uptimeMs: number): number {
  return uptimeMs < JUST_STARTED_MS ? RESTART_HANDOVER_MS : HANDOVER_MS
}
