import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { createDigestHash, type DigestAlgorithm, PieceLayout } from '@shoal/core'
import { LaneError } from '../lane/errors.ts'
import { localError } from '../lane/piece-fetch.ts'

/** Read and hashed at once: about half a millisecond, after which the lane of the same thread gets its turn. */
const CHUNK_BYTES = 1024 * 1024

/** The digest (hex) of a whole file. Throws LaneError `local` or `aborted`. */
export async function hashBlob(
  { file, algorithm }: { file: string; algorithm: DigestAlgorithm },
  signal: AbortSignal,
): Promise<string> {
  const hash = createDigestHash(algorithm)
  await eachChunk(file, [{ offset: 0, length: Number.POSITIVE_INFINITY }], signal, {
    chunk: (bytes) => hash.update(bytes),
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
    chunk: (bytes) => hash.update(bytes),
    end: (isWhole) => {
      hashes.push(isWhole ? new Uint8Array(hash.digest()) : new Uint8Array(0))
      hash = createHash('sha256')
    },
  })
  return hashes
}

/** Reads ranges of a file, a chunk at a time; `end` is told after each range whether the file had all of it. */
async function eachChunk(
  file: string,
  ranges: readonly { offset: number; length: number }[],
  signal: AbortSignal,
  sink: { chunk: (bytes: Uint8Array) => void; end: (isWhole: boolean) => void },
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
        sink.chunk(buffer.subarray(0, bytesRead))
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
