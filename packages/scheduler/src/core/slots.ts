/** Transfers that a node has in flight at once in all its swarms together, as child and as parent each. */
export const NODE_SLOTS = 3
/** No more slots than this, however long control takes. */
const MOST_SLOTS = 16

/**
 * Slots of a peer in a swarm (`U` = `D` of SCHEDULING.md, "Slots"): few, so that a piece is soon whole and can be sent
 * on, and as many down as up, so that nobody idles. Where control takes as long as a piece, more keep the links busy:
 * 4 at λ = 1, 6 at λ = 2, and so on in that line.
 * @param pieces of the blob
 * @param lambda the latency of control in piece times: from the end of a transfer to the begin of the next in its slot
 */
export function slotsFor(pieces: number, lambda: number): number {
  const base = pieces < 32 ? 1 : pieces < 128 ? 2 : 3
  return lambda < 1 ? base : Math.min(MOST_SLOTS, Math.max(base, Math.round(2 + 2 * lambda)))
}
