const KIB = 1024
/** Bytes of the smallest pieces, and of the largest. */
export const MIN_PIECE_BYTES = 512 * KIB
export const MAX_PIECE_BYTES = 16 * 1024 * KIB
/** Of a blob whose pieces are neither the smallest nor the largest. */
const MOST_PIECES = 128

/**
 * Which `pieceSizeFor` this is: nodes and schedulers of two rules mean different bytes by the same piece, so they part
 * when they meet. 1 had pieces of 256 KiB and more, 128 to 256 to a blob; it was not told, so none told is 1.
 */
export const PIECE_RULE = 2

/**
 * The piece size of a blob: a function of its size alone, so that every node and scheduler agrees on it without
 * asking. A power of two between 512 KiB and 16 MiB that cuts the blob into 65 to 128 pieces where those bounds allow:
 * few enough that what a piece costs besides its bytes is little, enough that a piece is forwarded long before the blob
 * is whole (SCHEDULING.md, "Piece size"; docs/architecture.md has the figures).
 * @param sizeBytes at least 0
 * @returns bytes
 */
export function pieceSizeFor(sizeBytes: number): number {
  let pieceSize = MIN_PIECE_BYTES
  while (pieceSize < MAX_PIECE_BYTES && pieceSize * MOST_PIECES < sizeBytes) pieceSize *= 2
  return pieceSize
}

/** How a blob is cut into pieces. Piece i covers bytes `i * pieceSize` to the next piece; the last may be shorter. */
export class PieceLayout {
  /** Bytes. */
  readonly size: number
  /** Bytes. */
  readonly pieceSize: number
  /** 0 for an empty blob. */
  readonly count: number

  /** @param size bytes of the whole blob, a whole number of at least 0 */
  constructor(size: number) {
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`blob size must be a whole number, not ${size}`)
    this.size = size
    this.pieceSize = pieceSizeFor(size)
    this.count = Math.ceil(size / this.pieceSize)
  }

  /** Byte offset of piece `index`. */
  offset(index: number): number {
    return index * this.pieceSize
  }

  /** Bytes of piece `index`, 0 ≤ index < count. */
  length(index: number): number {
    if (index < 0 || index >= this.count) throw new RangeError(`piece ${index} is not one of ${this.count}`)
    return Math.min(this.pieceSize, this.size - index * this.pieceSize)
  }

  /** The piece that holds byte `offset`. */
  indexAt(offset: number): number {
    return Math.floor(offset / this.pieceSize)
  }
}
