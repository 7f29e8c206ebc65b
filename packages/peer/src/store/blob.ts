import { HaveSet, PieceLayout } from '@shoal/core'

const SHA256_BYTES = 32

/**
 * A blob on this node, whole or in part. Its have-set lives in a SharedArrayBuffer, so worker threads that send
 * pieces see a new piece without a message. Only the store changes it.
 */
export class StoredBlob {
  readonly digest: string
  readonly layout: PieceLayout
  readonly have: HaveSet
  readonly haveBuffer: SharedArrayBuffer
  /** Where the bytes are now; changes once, when the blob is published. */
  file: string
  /** Where they are going, while the blob is being published: for as long nobody can tell which of the two it is. */
  nextFile: string | undefined
  /** Whether the whole blob was checked against its digest and has its final name. */
  isComplete: boolean
  /** Last use, milliseconds since 1970. */
  usedAtMs: number
  readonly #pieceDigests: Uint8Array<ArrayBuffer> | undefined

  constructor(digest: string, size: number, file: string, isComplete: boolean, usedAtMs: number) {
    this.digest = digest
    this.layout = new PieceLayout(size)
    this.file = file
    this.isComplete = isComplete
    this.usedAtMs = usedAtMs
    this.haveBuffer = new SharedArrayBuffer(HaveSet.byteLength(this.layout.count))
    this.have = new HaveSet(this.layout.count, this.haveBuffer)
    if (isComplete) for (let piece = 0; piece < this.layout.count; piece++) this.have.add(piece)
    else this.#pieceDigests = new Uint8Array(this.layout.count * SHA256_BYTES)
  }

  /** Bytes of the whole blob. */
  get size(): number {
    return this.layout.size
  }

  /**
   * Whether the blob is one piece. Such a blob is whole with its first piece, so nothing of it in part is worth
   * keeping: it comes into the index when it is whole, and a crash before that costs one small piece.
   */
  get isOnePiece(): boolean {
    return this.layout.count === 1
  }

  /** Bytes of the pieces that are not held. */
  get missingBytes(): number {
    const { count, pieceSize, size } = this.layout
    if (this.have.isComplete) return 0
    const last = count - 1
    const lastMissing = this.have.has(last) ? 0 : size - this.layout.offset(last)
    const missing = count - this.have.held
    return lastMissing + (missing - (lastMissing > 0 ? 1 : 0)) * pieceSize
  }

  /** The sha256 of each piece of an incomplete blob, 32 bytes each; zero where the piece is not held. */
  get pieceDigests(): Uint8Array<ArrayBuffer> | undefined {
    return this.#pieceDigests
  }

  /** Marks a piece that was written and verified. For the store only. */
  addPiece(piece: number, sha256: Uint8Array): boolean {
    this.#pieceDigests?.set(sha256, piece * SHA256_BYTES)
    return this.have.add(piece)
  }
}
