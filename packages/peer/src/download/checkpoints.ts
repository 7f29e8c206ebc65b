import { deflateRawSync } from 'node:zlib'
import type { ByteRange, PieceLayout } from '@shoal/core'

/** Bytes of a part that an origin is asked for. */
const PART_BYTES = 1024
/** A blob that is no longer is asked for whole. */
const WHOLE_BYTES = 4096
/** Parts of a longer one. */
const CHECKPOINTS = 3
/** Bytes that the part must still have when it is compressed: less could be guessed. */
const TELLING_BYTES = 64

/** A part of a blob that an origin must know before its clients may read on from there. */
export interface Checkpoint {
  readonly piece: number
  /** Bytes of the blob, both inclusive. */
  readonly range: ByteRange
}

/**
 * Parts of the blob, in order: one in its first piece, others in pieces chosen at random where it has several, so that
 * who holds some of it gets no further than that. A reader passes each before it reads the piece, so a blob may be read
 * while it grows.
 * @param random 0 ≤ x < 1; the same for the same blob, or who knows some of it would have itself asked until it fits
 */
export function chooseCheckpoints(layout: PieceLayout, random: () => number): Checkpoint[] {
  if (layout.size <= WHOLE_BYTES)
    return layout.size === 0 ? [] : [{ piece: 0, range: { start: 0, end: layout.size - 1 } }]
  const pieces = [0]
  while (pieces.length < Math.min(CHECKPOINTS, layout.count)) {
    // One of those that are left, counted past those that are taken.
    let piece = Math.floor(random() * (layout.count - pieces.length))
    for (const taken of pieces) if (piece >= taken) piece++
    pieces.push(piece)
    pieces.sort((a, b) => a - b)
  }
  while (pieces.length < CHECKPOINTS) pieces.push(layout.count - 1)
  return pieces.map((piece) => ({ piece, range: partOf(layout, piece, random) }))
}

/** A part of the piece, at random. */
export function partOf(layout: PieceLayout, piece: number, random: () => number): ByteRange {
  const length = layout.length(piece)
  const bytes = Math.min(PART_BYTES, length)
  const start = layout.offset(piece) + Math.floor(random() * (length - bytes + 1))
  return { start, end: start + bytes - 1 }
}

/** Whether who has these bytes of a blob of `size` bytes cannot have guessed them: runs of one byte say nothing. */
export function isTelling(bytes: Uint8Array, size: number): boolean {
  return bytes.byteLength === size || deflateRawSync(bytes).byteLength >= Math.min(TELLING_BYTES, bytes.byteLength)
}
