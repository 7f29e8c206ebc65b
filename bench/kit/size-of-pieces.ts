import { MAX_PIECE_BYTES, MIN_PIECE_BYTES, PieceLayout } from '@shoal/core'

/** Bytes of a blob that is cut into exactly so many pieces, as small ones as can be. */
export function sizeOfPieces(pieces: number): number {
  const smallest = pieces * MIN_PIECE_BYTES
  return new PieceLayout(smallest).count === pieces ? smallest : pieces * MAX_PIECE_BYTES
}
