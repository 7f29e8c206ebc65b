import { type FileHandle, open } from 'node:fs/promises'
import type { ByteRange } from '@shoal/core'
import type { StoredBlob } from '../store/blob.ts'
import { DownloadError } from './errors.ts'

const CHUNK_BYTES = 1024 * 1024

/** Bytes of a blob, in order, as they become readable. */
export interface BlobReader {
  readonly digest: string
  /** Bytes of the whole blob. */
  readonly size: number
  /** The bytes of `range`, in chunks of at most 1 MiB that are the receiver's to keep. */
  read(range: ByteRange, signal: AbortSignal): AsyncGenerator<Buffer>
  close(): Promise<void>
}

/** A reader of a blob whose pieces become readable one by one. The file may be renamed or deleted under it. */
export class PieceReader implements BlobReader {
  readonly digest: string
  readonly size: number
  readonly #blob: StoredBlob
  readonly #handle: FileHandle
  readonly #waitForPiece: (piece: number, signal: AbortSignal) => Promise<void>

  private constructor(
    blob: StoredBlob,
    handle: FileHandle,
    waitForPiece: (piece: number, signal: AbortSignal) => Promise<void>,
  ) {
    this.digest = blob.digest
    this.size = blob.size
    this.#blob = blob
    this.#handle = handle
    this.#waitForPiece = waitForPiece
  }

  /** @param waitForPiece resolves when a piece may be read */
  static async open(
    blob: StoredBlob,
    waitForPiece: (piece: number, signal: AbortSignal) => Promise<void>,
  ): Promise<PieceReader> {
    return new PieceReader(blob, await open(blob.file, 'r'), waitForPiece)
  }

  async *read(range: ByteRange, signal: AbortSignal): AsyncGenerator<Buffer> {
    const { layout } = this.#blob
    let offset = range.start
    while (offset <= range.end) {
      const piece = layout.indexAt(offset)
      await this.#waitForPiece(piece, signal)
      const pieceEnd = layout.offset(piece) + layout.length(piece)
      const length = Math.min(CHUNK_BYTES, pieceEnd - offset, range.end + 1 - offset)
      const chunk = Buffer.allocUnsafe(length)
      const { bytesRead } = await this.#handle.read(chunk, 0, length, offset)
      if (bytesRead !== length) {
        throw new DownloadError('STORE_FAILED', `the file of ${this.digest} ends at ${offset + bytesRead}`)
      }
      offset += length
      yield chunk
    }
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}
