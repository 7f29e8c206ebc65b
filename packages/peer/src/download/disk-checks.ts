import { statSync } from 'node:fs'
import { HaveSet } from '@shoal/core'
import type { StoredBlob } from '../store/blob.ts'
import type { PieceHasher } from '../store/recovery.ts'
import type { PieceStore } from './dependencies.ts'
import { DownloadError } from './errors.ts'

/** Hashed at once by a worker thread, which takes a few milliseconds; one piece where pieces are larger. */
const RUN_BYTES = 4 * 1024 * 1024
/** What was right so long ago is looked at again. */
const HOLDS_FOR_MS = 60 * 60_000
/** The same of blobs that one run covers: to hash them costs next to nothing. */
const SMALL_HOLDS_FOR_MS = 10_000
const SHA256_BYTES = 32

/** What is known of a blob's bytes on disk. */
interface Known {
  readonly sinceMs: number
  /** The file as it was then. */
  readonly identity: string | undefined
  readonly right: HaveSet
}

/**
 * Whether whole blobs are on disk as they were when they were verified: disks forget, also while a node is down. Each
 * piece is hashed again, in a worker thread, before a client reads it, unless this process has seen it right within
 * the hour (a small blob: within ten seconds) and the file has not been written since.
 */
export class DiskChecks {
  readonly #store: Pick<PieceStore, 'pieceMap'>
  readonly #hasher: Pick<PieceHasher, 'hashPieces'>
  readonly #now: () => number
  readonly #identityOf: (file: string) => string | undefined
  readonly #known = new WeakMap<StoredBlob, Known>()

  constructor(dependencies: {
    store: Pick<PieceStore, 'pieceMap'>
    hasher: Pick<PieceHasher, 'hashPieces'>
    /** Milliseconds of a clock that does not step back. */
    now: () => number
    /** What changes when a file is written or replaced; undefined: it is not there. Left out: what the system says. */
    identityOf?: (file: string) => string | undefined
  }) {
    this.#store = dependencies.store
    this.#hasher = dependencies.hasher
    this.#now = dependencies.now
    this.#identityOf = dependencies.identityOf ?? fileIdentity
  }

  /** The whole blob was compared with its digest just now. */
  verified(blob: StoredBlob): void {
    const { right } = this.#renew(blob, this.#identityOf(blob.file))
    for (let piece = 0; piece < right.count; piece++) right.add(piece)
  }

  /**
   * Resolves when a piece, and some after it, may be read; to false when the bytes are not those of the blob. Rejects
   * with DownloadError `STORE_FAILED` when they can not be read, with the signal's reason when it aborts.
   */
  async isRight(blob: StoredBlob, piece: number, signal: AbortSignal): Promise<boolean> {
    const { right } = this.#knownOf(blob)
    if (right.has(piece)) return true
    const { count, pieceSize } = blob.layout
    const end = Math.min(count, piece + Math.max(1, Math.floor(RUN_BYTES / pieceSize)))
    const pieces = Array.from({ length: end - piece }, (_, i) => piece + i)
    const pieceMap = await this.#store.pieceMap(blob.digest)
    const found = await this.#hash(blob, pieces, signal)
    for (const [i, sha256] of found.entries()) {
      const at = piece + i
      const wanted = pieceMap?.subarray(at * SHA256_BYTES, (at + 1) * SHA256_BYTES)
      if (wanted !== undefined && Buffer.compare(sha256, wanted) === 0) right.add(at)
    }
    return right.has(piece)
  }

  async #hash(blob: StoredBlob, pieces: readonly number[], signal: AbortSignal): Promise<Uint8Array[]> {
    try {
      return await this.#hasher.hashPieces(blob.file, blob.size, pieces, signal)
    } catch (cause) {
      signal.throwIfAborted()
      throw new DownloadError('STORE_FAILED', `can not read ${blob.digest} back from disk`, { cause })
    }
  }

  /** Nothing that was seen of the blob counts any more: what is read of it is hashed again. */
  forget(blob: StoredBlob): void {
    this.#known.delete(blob)
  }

  #knownOf(blob: StoredBlob): Known {
    const known = this.#known.get(blob)
    const identity = this.#identityOf(blob.file)
    const holdsForMs = blob.size <= RUN_BYTES ? SMALL_HOLDS_FOR_MS : HOLDS_FOR_MS
    // Who reads a file that is gone has it open, with the bytes that it had.
    const isAsItWas = identity === undefined || identity === known?.identity
    const holds = known !== undefined && isAsItWas && this.#now() - known.sinceMs < holdsForMs
    return holds ? known : this.#renew(blob, identity)
  }

  #renew(blob: StoredBlob, identity: string | undefined): Known {
    const known = { sinceMs: this.#now(), identity, right: new HaveSet(blob.layout.count) }
    this.#known.set(blob, known)
    return known
  }
}

/** Asked of the system on the spot, as it takes some microseconds. */
function fileIdentity(file: string): string | undefined {
  const entry = statSync(file, { throwIfNoEntry: false })
  return entry && `${entry.ino} ${entry.size} ${entry.mtimeMs} ${entry.ctimeMs}`
}
