/** Transfers that a node has in flight at once in all its swarms together, as child and as parent each. */
export const NODE_SLOTS = 3
/** A blob of one piece of less than that takes a part of a slot only. */
const WHOLE_SLOT_BYTES = 256 * 1024
/** The least part, and what all are multiples of, so that sums of them are exact. */
const LEAST_SHARE = 1 / 16

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

/**
 * What a transfer of a blob's pieces takes of a slot of a node: slots are few because each is to fill a link, which
 * small blobs can not. With as many of these at once as of whole pieces a node would get three in each round of control.
 * @param sizeBytes of the whole blob
 */
export function slotShare(sizeBytes: number): number {
  const share = Math.ceil(sizeBytes / WHOLE_SLOT_BYTES / LEAST_SHARE) * LEAST_SHARE
  return Math.min(1, Math.max(LEAST_SHARE, share))
}
