import type { StoredBlob } from '../store/blob.ts'

/** Consecutive pieces fetched from the origin in one request. */
export interface PieceRun {
  readonly firstPiece: number
  readonly pieceCount: number
}

/**
 * Which pieces of a blob are on their way. A piece has at most one writer at a time: a second one could overwrite
 * verified bytes with wrong ones.
 */
export class PieceFlights {
  /** One number that grows by the bytes of any piece that come, and wraps around. */
  readonly arrivals = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  readonly #blob: StoredBlob
  readonly #inFlight = new Set<number>()

  constructor(blob: StoredBlob) {
    this.#blob = blob
  }

  get count(): number {
    return this.#inFlight.size
  }

  /** Whether a fetch of `piece` may begin now. */
  isOpen(piece: number): boolean {
    return !this.#blob.have.has(piece) && !this.#inFlight.has(piece)
  }

  begin(piece: number): void {
    this.#inFlight.add(piece)
  }

  end(piece: number): void {
    this.#inFlight.delete(piece)
  }

  /**
   * Begins the first run of open pieces in `from` ≤ piece < `to`, at most `maxPieces` long; undefined when there is
   * none.
   */
  beginRun(from: number, to: number, maxPieces: number): PieceRun | undefined {
    let firstPiece = from
    while (firstPiece < to && !this.isOpen(firstPiece)) firstPiece++
    let end = firstPiece
    while (end < to && end - firstPiece < maxPieces && this.isOpen(end)) this.begin(end++)
    return end === firstPiece ? undefined : { firstPiece, pieceCount: end - firstPiece }
  }
}
