import { closeSync, openSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createDigestHash, FileReads, HaveSet, PieceLayout } from '@shoal/core'
import type { GrowingBlob } from '../download/dependencies.ts'
import { LaneError } from '../lane/errors.ts'
import { localError } from '../lane/piece-fetch.ts'

/** Read and hashed at once: about half a millisecond, after which the lane of the same thread gets its turn. */
const CHUNK_BYTES = 1024 * 1024

const reads = new FileReads()

/**
 * The digest (hex) of a blob, computed in order while its pieces arrive: each is read while it is still in the page
 * cache, and the digest is there when the last piece is. Resolves when the blob is whole. Throws LaneError `local` or
 * `aborted`.
 */
export async function hashGrowing(blob: GrowingBlob, signal: AbortSignal): Promise<string> {
  const layout = new PieceLayout(blob.size)
  const have = new HaveSet(layout.count, blob.have)
  const hash = createDigestHash(blob.algorithm)
  const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, Math.max(1, blob.size)))
  let fd: number
  try {
    fd = openSync(blob.file, 'r')
  } catch (cause) {
    throw localError('open', blob.file, cause)
  }
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  try {
    for (let piece = 0; piece < layout.count; piece++) {
      await heldOrAborted(have, piece, blob.progress, aborted)
      if (signal.aborted) throw new LaneError('aborted', `hashing ${blob.file} was aborted`)
      const end = layout.offset(piece) + layout.length(piece)
      for (let offset = layout.offset(piece); offset < end; ) {
        const bytes = await reads.read(fd, buffer, 0, Math.min(buffer.byteLength, end - offset), offset)
        if (bytes === 0) throw new LaneError('local', `${blob.file} is shorter than its blob`)
        hash.update(buffer.subarray(0, bytes))
        offset += bytes
        await nextTurn()
      }
    }
    return hash.digest('hex')
  } catch (cause) {
    throw cause instanceof LaneError ? cause : localError('read', blob.file, cause)
  } finally {
    closeSync(fd)
  }
}

async function heldOrAborted(
  have: HaveSet,
  piece: number,
  progress: Int32Array<SharedArrayBuffer>,
  aborted: Promise<void>,
): Promise<void> {
  let isAborted = false
  const abort = aborted.then(() => {
    isAborted = true
  })
  while (!isAborted) {
    // Read before the bit is looked at: a piece added in between changes it, and the wait ends at once.
    const seen = Atomics.load(progress, 0)
    if (have.has(piece)) return
    const change = Atomics.waitAsync(progress, 0, seen)
    if (change.async) await Promise.race([change.value, abort])
  }
}
