import { closeSync, openSync } from 'node:fs'
import { type ByteRange, FileReads, readPooled } from '@shoal/core'
import type { StoredBlob } from '../store/blob.ts'
import { DownloadError } from './errors.ts'

const CHUNK_BYTES = 512 * 1024
const MAX_FREE_CHUNKS = 32
const freeChunks: Buffer[] = []
const reads = new FileReads()

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
  readonly #fd: number
  /** Reads under way; the file stays open for them. */
  readonly #reading = new Set<Promise<number>>()
  #isClosed = false
  readonly #waitForPiece: (piece: number, signal: AbortSignal) => Promise<void>

  private constructor(
    blob: StoredBlob,
    fd: number,
    waitForPiece: (piece: number, signal: AbortSignal) => Promise<void>,
  ) {
    this.digest = blob.digest
    this.size = blob.size
    this.#blob = blob
    this.#fd = fd
    this.#waitForPiece = waitForPiece
  }

  /**
   * Opens the blob's file. Throws the system's error.
   * @param waitForPiece resolves when a piece may be read
   */
  static open(blob: StoredBlob, waitForPiece: (piece: number, signal: AbortSignal) => Promise<void>): PieceReader {
    return new PieceReader(blob, openSync(blob.file, 'r'), waitForPiece)
  }

  /** The first chunk is read on the spot, each other by another thread while the receiver is busy with the one before. */
  async *read(range: ByteRange, signal: AbortSignal): AsyncGenerator<Buffer> {
    let offset = range.start
    let ahead: Promise<Chunk> | undefined
    try {
      while (offset <= range.end) {
        const current = await (ahead ?? this.#chunkAt(offset, range.end, signal, (...read) => reads.read(...read)))
        offset += current.length
        ahead = offset <= range.end ? this.#chunkAt(offset, range.end, signal, readPooled) : undefined
        // The receiver may leave before it is awaited.
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

  async #chunkAt(offset: number, end: number, signal: AbortSignal, read: ReadFile): Promise<Chunk> {
    const { layout } = this.#blob
    const piece = layout.indexAt(offset)
    await this.#waitForPiece(piece, signal)
    if (this.#isClosed) throw new DownloadError('STOPPED', `the reader of ${this.digest} was closed`)
    const pieceEnd = layout.offset(piece) + layout.length(piece)
    const length = Math.min(CHUNK_BYTES, pieceEnd - offset, end + 1 - offset)
    const buffer = freeChunks.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES)
    const reading = read(this.#fd, buffer, 0, length, offset)
    const bytes = typeof reading === 'number' ? reading : await this.#untilRead(reading)
    if (bytes !== length)
      throw new DownloadError('STORE_FAILED', `the file of ${this.digest} ends at ${offset + bytes}`)
    return { buffer, length }
  }

  async #untilRead(reading: Promise<number>): Promise<number> {
    this.#reading.add(reading)
    try {
      return await reading
    } finally {
      this.#reading.delete(reading)
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await Promise.allSettled(this.#reading)
    closeSync(this.#fd)
  }
}

/** Reads a part of an open file into a buffer; see FileReads. */
type ReadFile = (...read: Parameters<typeof readPooled>) => number | Promise<number>

/** A buffer and how much of it is filled. */
interface Chunk {
  readonly buffer: Buffer
  readonly length: number
}

/** Buffers go round: fresh ones of this size cost page faults and garbage collection, more than all else in a read. */
function giveBack(buffer: Buffer): void {
  if (freeChunks.length < MAX_FREE_CHUNKS) freeChunks.push(buffer)
}
