import { type FileHandle, open } from 'node:fs/promises'
import type { ByteRange } from '@shoal/core'
import type { StoredBlob } from '../store/blob.ts'
import { DownloadError } from './errors.ts'

const CHUNK_BYTES = 512 * 1024
const MAX_FREE_CHUNKS = 32
const freeChunks: Buffer[] = []

/** Bytes of a blob, in order, as they become readable. */
export interface BlobReader {
  readonly digest: string
  /** Bytes of the whole blob. */
  readonly size: number
  /** The bytes of `range`, in chunks of at most 512 KiB; each is valid until the next one is asked for. */
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
    let offset = range.start
    let ahead: Promise<Chunk> | undefined
    try {
      while (offset <= range.end) {
        const current = await (ahead ?? this.#chunkAt(offset, range.end, signal))
        offset += current.length
        // The next chunk is read while the receiver is busy with this one.
        ahead = offset <= range.end ? this.#chunkAt(offset, range.end, signal) : undefined
        ahead?.catch(() => {})
        try {
          yield current.buffer.subarray(0, current.length)
        } finally {
          giveBack(current.buffer)
        }
      }
    } finally {
      ahead?.then(({ buffer }) => giveBack(buffer)).catch(() => {})
    }
  }

  async #chunkAt(offset: number, end: number, signal: AbortSignal): Promise<Chunk> {
    const { layout } = this.#blob
    const piece = layout.indexAt(offset)
    await this.#waitForPiece(piece, signal)
    const pieceEnd = layout.offset(piece) + layout.length(piece)
    const length = Math.min(CHUNK_BYTES, pieceEnd - offset, end + 1 - offset)
    const buffer = freeChunks.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES)
    const { bytesRead } = await this.#handle.read(buffer, 0, length, offset)
    if (bytesRead !== length) {
      throw new DownloadError('STORE_FAILED', `the file of ${this.digest} ends at ${offset + bytesRead}`)
    }
    return { buffer, length }
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

/** A buffer and how much of it is filled. */
interface Chunk {
  readonly buffer: Buffer
  readonly length: number
}

/** Buffers go round: fresh ones of this size cost page faults and garbage collection, more than all else in a read. */
function giveBack(buffer: Buffer): void {
  if (freeChunks.length < MAX_FREE_CHUNKS) freeChunks.push(buffer)
}
