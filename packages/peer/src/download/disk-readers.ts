import { type Logger, systemErrorCode } from '@shoal/core'
import type { StoredBlob } from '../store/blob.ts'
import { storeIoError } from '../store/errors.ts'
import type { OriginBlobs, OriginSource, PieceStore } from './dependencies.ts'
import type { DiskChecks } from './disk-checks.ts'
import { DownloadError } from './errors.ts'
import { FallbackReader } from './fallback-reader.ts'
import type { DownloadMetrics } from './metrics.ts'
import { PassThroughReader } from './pass-through.ts'
import type { BlobReader } from './reader.ts'

/** A blob to read, and where to read on when this node's disk fails. */
interface Wanted {
  readonly digest: string
  readonly source: OriginSource
}

/** What readers of blobs on disk work with. */
interface DiskReadersDependencies {
  readonly store: Pick<PieceStore, 'find' | 'pin' | 'touch' | 'lost'>
  readonly checks: DiskChecks
  readonly origin: OriginBlobs
  readonly metrics: DownloadMetrics
  readonly log: Logger
  /** A blob was given up, as its bytes are gone or damaged. */
  readonly givenUp: (digest: string) => void
}

/** Opens blobs, whole or growing, that are on this node's disk; each reader goes on at the origin where the disk fails. */
export class DiskReaders {
  readonly #dependencies: DiskReadersDependencies

  constructor(dependencies: DiskReadersDependencies) {
    this.#dependencies = dependencies
  }

  /**
   * A reader of the blob's file; undefined when there is none of its name. Throws StoreError.
   * @param waitForPiece resolves when a piece may be read
   */
  open(
    blob: StoredBlob,
    wanted: Wanted,
    waitForPiece: (piece: number, signal: AbortSignal) => Promise<void>,
  ): BlobReader | undefined {
    const { store } = this.#dependencies
    const unpin = store.pin(blob.digest)
    store.touch(blob.digest)
    try {
      return FallbackReader.open(blob, {
        waitForPiece,
        passThrough: (error) => this.passThrough(wanted, blob.size, error),
        closed: unpin,
      })
    } catch (error) {
      unpin()
      if (systemErrorCode(error) === 'ENOENT') return undefined
      throw storeIoError('open', blob.file, error)
    }
  }

  /** The same of a whole blob, whose bytes are checked before they are read. */
  openWhole(blob: StoredBlob, wanted: Wanted): BlobReader | undefined {
    return this.open(blob, wanted, (piece, signal) => this.check(blob, piece, signal))
  }

  /** A reader that hands the origin's bytes on, since `error` keeps this node from keeping the blob, or giving it. */
  passThrough(wanted: Wanted, size: number, error: unknown): PassThroughReader {
    const { registry, repository } = wanted.source
    const fields = { digest: wanted.digest, registry, repository, err: error }
    this.#dependencies.log.warn(fields, 'the blob goes from the origin straight to the client')
    return this.ownOrigin(wanted, size)
  }

  /** A reader of the origin's own bytes, of which nothing is kept. */
  ownOrigin({ digest, source }: Wanted, size: number): PassThroughReader {
    const { metrics, origin } = this.#dependencies
    return new PassThroughReader({ digest, size, source }, { origin, metrics })
  }

  /** Forgets a blob whose bytes are gone, or damaged. */
  async giveUp(blob: StoredBlob): Promise<void> {
    await this.#dependencies.store.lost(blob)
    this.#dependencies.givenUp(blob.digest)
  }

  /**
   * Looks at a piece of a whole blob again, as somebody found it wrong, and gives the blob up when it is. Resolves to
   * whether it is right, or is not there.
   */
  async recheck(digest: string, piece: number, signal: AbortSignal): Promise<boolean> {
    const { checks, store } = this.#dependencies
    const blob = store.find(digest)
    if (blob?.isComplete !== true || piece >= blob.layout.count) return true
    const unpin = store.pin(digest)
    try {
      checks.forget(blob)
      await this.check(blob, piece, signal)
      return true
    } catch (error) {
      signal.throwIfAborted()
      if (store.find(digest) === blob) throw error
      return false
    } finally {
      unpin()
    }
  }

  /**
   * Resolves when a piece of a whole blob is on disk as it was; gives the blob up and rejects with DownloadError
   * `STORE_FAILED` when it is damaged.
   */
  async check(blob: StoredBlob, piece: number, signal: AbortSignal): Promise<void> {
    const { checks, log, metrics, store } = this.#dependencies
    if (await checks.isRight(blob, piece, signal)) return
    const { digest, file } = blob
    // Another reader may have seen it already.
    if (store.find(digest) === blob) {
      metrics.damagedBlobs.inc()
      log.error({ digest, file, piece }, 'a blob on disk is damaged; given up, it will be fetched again')
      await this.giveUp(blob)
    }
    throw new DownloadError('STORE_FAILED', `piece ${piece} of ${digest} is damaged on disk`)
  }
}
