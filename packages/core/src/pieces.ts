const KIB = 1024
const MIN_PIECE_BYTES = 256 * KIB
const MAX_PIECE_BYTES = 16 * 1024 * KIB
const WANTED_PIECES = 256

/**
 * The piece size of a blob: a function of its size alone, so that every node and scheduler agrees on it without
 * asking. A power of two between 256 KiB and 16 MiB that cuts the blob into about 128 to 256 pieces where those
 * bounds allow: few enough that a piece outlasts its control messages, enough that a piece is forwarded long before
 * the blob is whole (SCHEDULING.md, "Piece size").
 * @param sizeBytes at least 0
 * @returns bytes
 */
export function pieceSizeFor(sizeBytes: number): number {
  let pieceSize = MIN_PIECE_BYTES
  while (pieceSize < MAX_PIECE_BYTES && pieceSize * WANTED_PIECES < sizeBytes) pieceSize *= 2
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
