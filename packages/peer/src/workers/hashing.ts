import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { createDigestHash, type DigestAlgorithm, PieceLayout } from '@shoal/core'
import { LaneError } from '../lane/errors.ts'
import { localError } from '../lane/piece-fetch.ts'

/** Read and hashed at once: about half a millisecond, after which the lane of the same thread gets its turn. */
const CHUNK_BYTES = 1024 * 1024
/** A disk that hung for a while must not make the rest long as well. */
const MAX_REST_MS = 250
const SHA256_BYTES = 32

/** The digest (hex) of a whole file. Throws LaneError `local` or `aborted`. */
export async function hashBlob(
  { file, algorithm }: { file: string; algorithm: DigestAlgorithm },
  signal: AbortSignal,
): Promise<string> {
  const hash = createDigestHash(algorithm)
  await eachChunk(file, [{ offset: 0, length: Number.POSITIVE_INFINITY }], signal, {
    chunk: (bytes) => void hash.update(bytes),
    end: () => {},
  })
  return hash.digest('hex')
}

/**
 * The sha256 of each of `pieces` of the blob of `size` bytes in `file`; zero bytes long where the file ends before
 * the piece does. Throws LaneError `local` or `aborted`.
 */
export async function hashPieces(
  { file, size, pieces }: { file: string; size: number; pieces: readonly number[] },
  signal: AbortSignal,
): Promise<Uint8Array[]> {
  const layout = new PieceLayout(size)
  const ranges = pieces.map((piece) => ({ offset: layout.offset(piece), length: layout.length(piece) }))
  const hashes: Uint8Array[] = []
  let hash = createHash('sha256')
  await eachChunk(file, ranges, signal, {
    chunk: (bytes) => void hash.update(bytes),
    end: (isWhole) => {
      hashes.push(isWhole ? new Uint8Array(hash.digest()) : new Uint8Array(0))
      hash = createHash('sha256')
    },
  })
  return hashes
}

/** The digest (hex) of a whole blob, and the sha256 of each of its pieces. */
export interface WholeHashes {
  readonly hex: string
  readonly pieceMap: Uint8Array
}

/**
 * The digest of the blob of `size` bytes in `file` and those of its pieces, from one reading. Nobody waits for it: after
 * each chunk it rests for as long as that took, so the lane, and the disk, are free half of the time. Throws LaneError
 * `local`, also when the file is shorter, or `aborted`.
 */
export async function hashUnhurried(
  { file, size, algorithm }: { file: string; size: number; algorithm: DigestAlgorithm },
  signal: AbortSignal,
): Promise<WholeHashes> {
  const layout = new PieceLayout(size)
  const ranges = Array.from({ length: layout.count }, (_, piece) => ({
    offset: layout.offset(piece),
    length: layout.length(piece),
  }))
  // The sha256 of an only piece is that of the whole.
  const isOnePiece = layout.count === 1 && algorithm === 'sha256'
  const whole = createDigestHash(algorithm)
  const pieceMap = new Uint8Array(layout.count * SHA256_BYTES)
  let piece = 0
  let hash = createHash('sha256')
  let restedMs = performance.now()
  await eachChunk(file, ranges, signal, {
    chunk: async (bytes) => {
      if (!isOnePiece) whole.update(bytes)
      hash.update(bytes)
      await delay(Math.min(MAX_REST_MS, performance.now() - restedMs))
      restedMs = performance.now()
    },
    end: (isWhole) => {
      if (!isWhole) throw new LaneError('local', `${file} is shorter than its blob`)
      pieceMap.set(hash.digest(), piece++ * SHA256_BYTES)
      hash = createHash('sha256')
    },
  })
  return { hex: isOnePiece ? Buffer.from(pieceMap).toString('hex') : whole.digest('hex'), pieceMap }
}

/** Reads ranges of a file, a chunk at a time; `end` is told after each range whether the file had all of it. */
async function eachChunk(
  file: string,
  ranges: readonly { offset: number; length: number }[],
  signal: AbortSignal,
  sink: { chunk: (bytes: Uint8Array) => void | Promise<void>; end: (isWhole: boolean) => void },
): Promise<void> {
  let handle: FileHandle
  try {
    handle = await open(file, 'r')
  } catch (cause) {
    throw localError('open', file, cause)
  }
  try {
    const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
    for (const { offset, length } of ranges) {
      let done = 0
      while (done < length) {
        if (signal.aborted) throw new LaneError('aborted', `hashing ${file} was aborted`)
        const { bytesRead } = await handle.read(buffer, 0, Math.min(CHUNK_BYTES, length - done), offset + done)
        if (bytesRead === 0) break
        const resting = sink.chunk(buffer.subarray(0, bytesRead))
        if (resting !== undefined) await resting
        done += bytesRead
      }
      sink.end(done >= length)
    }
  } catch (cause) {
    throw cause instanceof LaneError ? cause : localError('read', file, cause)
  } finally {
    await handle.close()
  }
}
