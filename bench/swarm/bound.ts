import { PieceLayout } from '@shoal/core'

/**
 * T*, seconds: the least time in which blobs reach `nodes` nodes from a seed with the same link as theirs, M + ⌊log2 N⌋
 * piece times (Mundinger, Weber, Weiss: "Optimal scheduling of peer-to-peer file dissemination", 2008). Counted at the
 * link's rate, headers of Ethernet, IP, TCP and TLS included (some 5 %), with an origin that is never waited for. Of
 * several blobs: the bytes of all, and the pieces of the largest.
 */
export function boundSeconds(sizesBytes: readonly number[], nodes: number, rateBps: number): number {
  const bytes = sizesBytes.reduce((sum, size) => sum + size, 0)
  const pieceBytes = Math.max(...sizesBytes.map((size) => Math.min(size, new PieceLayout(size).pieceSize)))
  return ((bytes + Math.floor(Math.log2(nodes)) * pieceBytes) * 8) / rateBps
}

/** The value below or at which `share` (0 to 1) of the values are, by nearest rank; NaN for none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}
