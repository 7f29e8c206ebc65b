import { type Logger, parseDigest } from '@shoal/core'
import type { StoredBlob } from './blob.ts'
import type { IndexDb } from './index-db.ts'
import type { Unpin } from './pins.ts'
import type { PieceHasher } from './recovery.ts'

const SHA256_BYTES = 32

/** What piece maps are made with. */
interface PieceMapsDependencies {
  readonly index: IndexDb
  /** Keeps a blob from being evicted. */
  readonly pin: (digest: string) => Unpin
  readonly hasher: PieceHasher
  readonly log: Logger
  readonly signal: AbortSignal
}

/**
 * The piece maps of whole blobs: out of the index, or, where it has none for the pieces that blobs are cut into now, made
 * anew from a file that is compared with its digest meanwhile. So an update that changes the piece size costs one reading
 * of what is asked for, and no blob.
 */
export class PieceMaps {
  readonly #dependencies: PieceMapsDependencies
  /** By digest. */
  readonly #making = new Map<string, Promise<Uint8Array | undefined>>()

  constructor(dependencies: PieceMapsDependencies) {
    this.#dependencies = dependencies
  }

  /** The sha256 of every piece, 32 bytes each; undefined when the file is not the blob, or can not be read. */
  async of(blob: StoredBlob): Promise<Uint8Array | undefined> {
    const known = await this.#dependencies.index.pieceMap(blob.digest)
    if (known?.byteLength === blob.layout.count * SHA256_BYTES) return known
    const making =
      this.#making.get(blob.digest) ?? this.#make(blob).finally(() => void this.#making.delete(blob.digest))
    this.#making.set(blob.digest, making)
    return making
  }

  async #make({ digest, file, size }: StoredBlob): Promise<Uint8Array | undefined> {
    const { index, hasher, log, pin, signal } = this.#dependencies
    const { algorithm, hex } = parseDigest(digest)
    const unpin = pin(digest)
    try {
      const found = await hasher.hashUnhurried(file, size, algorithm, signal)
      if (found.hex !== hex) {
        log.error({ digest, file }, 'a blob on disk is damaged: it has no piece map; check the disk')
        return undefined
      }
      await index.putPieceMap(digest, found.pieceMap)
      log.debug({ digest, size }, 'piece map made anew')
      return found.pieceMap
    } catch (error) {
      // Nothing is known of a blob because we stop.
      signal.throwIfAborted()
      log.warn({ digest, err: error }, 'a piece map can not be made or written down now')
      return undefined
    } finally {
      unpin()
    }
  }
}
