import { ShoalError, type Startable, systemErrorCode, tryParseDigest } from '@shoal/core'

import { LeaseFailed_Reason, PieceFailed_Reason } from '@shoal/proto'
import type { CoordinatorListener, OriginLease, PieceAssignment } from '../coordinator/events.ts'
import type { StoredBlob } from '../store/blob.ts'
import type { BlobSizes, DownloadDependencies, OriginSource } from './dependencies.ts'
import { type BytesBySource, Download, type DownloadOptions } from './download.ts'
import { type BlobReader, PieceReader } from './reader.ts'

const CHECK_MS = 250
const DISTRUST_MS = 10 * 60_000
const MAX_KEPT_SUMMARIES = 256

/** A blob that a client wants. */
export interface BlobRequest {
  readonly digest: string
  readonly source: OriginSource
  /** Bytes, when a manifest said so; else the origin is asked. */
  readonly size?: number
}

/** A download as a person or a progress bar sees it. */
export interface DownloadSummary {
  readonly digest: string
  /** Bytes. */
  readonly size: number
  readonly pieces: number
  readonly held: number
  readonly state: 'active' | 'complete' | 'failed'
  readonly bytes: Readonly<BytesBySource>
}

/**
 * The download engine: one download per blob however many clients ask, readers in order, and the scheduler's
 * commands handed to the download they are for.
 */
export class Downloads implements Startable, CoordinatorListener {
  readonly #options: DownloadOptions
  readonly #dependencies: DownloadDependencies
  readonly #sizes: BlobSizes
  readonly #bootstrap: (multiaddrs: readonly string[]) => void
  readonly #active = new Map<string, Download>()
  readonly #beginning = new Map<string, Promise<Download>>()
  /** Blobs whose swarm gave wrong bytes → until when the swarm is not asked. */
  readonly #distrusted = new Map<string, number>()
  readonly #ended = new Map<string, DownloadSummary>()
  readonly #stopping = new AbortController()
  #timer: NodeJS.Timeout | undefined

  constructor(
    options: DownloadOptions,
    dependencies: DownloadDependencies & {
      sizes: BlobSizes
      /** Told the libp2p addresses that a scheduler gives. */
      bootstrap: (multiaddrs: readonly string[]) => void
    },
  ) {
    this.#options = options
    this.#dependencies = dependencies
    this.#sizes = dependencies.sizes
    this.#bootstrap = dependencies.bootstrap
  }

  get activeCount(): number {
    return this.#active.size
  }

  async start(): Promise<void> {
    this.#timer ??= setInterval(() => {
      for (const download of this.#active.values()) download.check()
    }, CHECK_MS)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#stopping.abort()
    await Promise.allSettled(this.#beginning.values())
    for (const download of [...this.#active.values()]) download.stop()
  }

  /** Active downloads, and the last ones that ended. */
  summaries(): DownloadSummary[] {
    return [...this.#ended.values(), ...[...this.#active.values()].map((download) => summaryOf(download, 'active'))]
  }

  /** Bytes of a blob that is here, in whole or in part; undefined when it is not known. */
  sizeOf(digest: string): number | undefined {
    return this.#dependencies.store.find(digest)?.size
  }

  /**
   * A reader of the blob: at once when it is here, else of the download that brings it, which goes on if the reader
   * leaves. Rejects with OriginError or StoreError when it can not begin.
   */
  async open(request: BlobRequest): Promise<BlobReader> {
    const held = this.#dependencies.store.find(request.digest)
    if (held?.isComplete) return PieceReader.open(held, async () => {})
    const download = await this.want(request)
    // Nothing of an empty blob can be waited for but its end.
    if (download.blob.size === 0) return this.#openEnded(download)
    try {
      return await PieceReader.open(download.blob, (piece, signal) => download.waitForPiece(piece, signal))
    } catch (error) {
      // The file is being renamed to its final name.
      if (systemErrorCode(error) !== 'ENOENT') throw error
      return this.#openEnded(download)
    }
  }

  /** Begins the download of a blob, or joins the one that runs. */
  async want(request: BlobRequest): Promise<Download> {
    const download = this.#active.get(request.digest) ?? (await this.#begin(request))
    download.addSource(request.source)
    download.want()
    return download
  }

  /** Begins downloads of blobs that a manifest announced and that are not here; their failures are only logged. */
  announce(requests: readonly BlobRequest[]): void {
    for (const request of requests) {
      if (this.#dependencies.store.find(request.digest)?.isComplete || this.#active.has(request.digest)) continue
      this.want(request).catch((error: unknown) => {
        this.#dependencies.log.warn(
          { digest: request.digest, err: error },
          'an announced blob can not be fetched ahead',
        )
      })
    }
  }

  connected(): void {
    const { coordinator, store } = this.#dependencies
    for (const blob of store.complete()) if (blob.size > 0) coordinator.holding(blob.digest, blob.size)
    for (const download of this.#active.values()) download.join()
  }

  disconnected(): void {
    for (const download of this.#active.values()) download.schedulerGone()
  }

  assigned(assignment: PieceAssignment): void {
    const download = this.#active.get(assignment.digest)
    if (download !== undefined) {
      void download.assigned(assignment)
      return
    }
    const { digest, piece, parent } = assignment
    const { coordinator, store } = this.#dependencies
    if (store.find(digest)?.isComplete) coordinator.pieceDone(digest, piece, parent, 0)
    else coordinator.pieceFailed(digest, piece, parent, PieceFailed_Reason.LOCAL)
  }

  leased(lease: OriginLease): void {
    const { digest, size, origin } = lease
    if (this.#dependencies.store.find(digest)?.isComplete) {
      this.#dependencies.coordinator.holding(digest, size)
      return
    }
    this.#begin({ digest, size, source: origin }).then(
      (download) => download.leased(lease),
      (error: unknown) => {
        this.#dependencies.log.warn({ digest, err: error }, 'a lease can not be taken')
        this.#dependencies.coordinator.leaseFailed(digest, LeaseFailed_Reason.LOCAL)
      },
    )
  }

  swarmFailed(digest: string, reason: LeaseFailed_Reason): void {
    this.#active.get(digest)?.swarmFailed(reason)
  }

  pieceMapWanted(digest: string): void {
    const { coordinator, log, store } = this.#dependencies
    const size = store.find(digest)?.size
    store.pieceMap(digest).then(
      (sha256s) => {
        if (sha256s === undefined || size === undefined) coordinator.withdrawn(digest)
        else coordinator.pieceMap(digest, size, sha256s)
      },
      (error: unknown) => log.error({ digest, err: error }, 'can not read a piece map'),
    )
  }

  bootstrap(multiaddrs: readonly string[]): void {
    this.#bootstrap(multiaddrs)
  }

  async #openEnded(download: Download): Promise<BlobReader> {
    const outcome = await download.ended
    if (outcome !== 'complete') throw outcome
    return PieceReader.open(download.blob, async () => {})
  }

  #begin(request: BlobRequest): Promise<Download> {
    const active = this.#active.get(request.digest)
    if (active !== undefined) return Promise.resolve(active)
    const running = this.#beginning.get(request.digest)
    if (running !== undefined) return running
    const beginning = this.#create(request).finally(() => this.#beginning.delete(request.digest))
    this.#beginning.set(request.digest, beginning)
    return beginning
  }

  async #create({ digest, size, source }: BlobRequest): Promise<Download> {
    if (tryParseDigest(digest) === undefined) throw new RangeError(`${digest} is not a digest`)
    const { now } = this.#dependencies
    const blob = await this.#partialBlob(digest, source, size)
    this.#stopping.signal.throwIfAborted()
    const isDistrusted = (this.#distrusted.get(digest) ?? 0) > now()
    const download = new Download(blob, source, isDistrusted, this.#options, this.#dependencies)
    this.#active.set(digest, download)
    void download.ended.then((outcome) => {
      this.#active.delete(digest)
      this.#keepSummary(summaryOf(download, outcome === 'complete' ? 'complete' : 'failed'))
      if (outcome === 'complete') {
        this.#dependencies.published(digest)
      } else if (outcome.code === 'DIGEST_MISMATCH') {
        this.#distrusted.set(digest, now() + DISTRUST_MS)
      }
      if (outcome !== 'complete' && outcome.code !== 'STOPPED') {
        this.#dependencies.log.error({ digest, err: outcome }, 'download failed')
      }
    })
    return download
  }

  /** What the store holds of the blob; with the origin's word on its size where that is not sure. */
  async #partialBlob(digest: string, source: OriginSource, size: number | undefined): Promise<StoredBlob> {
    const { store } = this.#dependencies
    const { signal } = this.#stopping
    if (size !== undefined) {
      try {
        return await store.create(digest, size)
      } catch (error) {
        if (!(error instanceof ShoalError && error.code === 'SIZE_CONFLICT')) throw error
      }
    }
    const trueSize = await this.#sizes.blobSize(digest, source, signal)
    const held = store.find(digest)
    if (held !== undefined && held.size !== trueSize) await store.discard(digest)
    return store.create(digest, trueSize)
  }

  #keepSummary(summary: DownloadSummary): void {
    this.#ended.delete(summary.digest)
    this.#ended.set(summary.digest, summary)
    const [oldest] = this.#ended.keys()
    if (this.#ended.size > MAX_KEPT_SUMMARIES && oldest !== undefined) this.#ended.delete(oldest)
  }
}

function summaryOf(download: Download, state: DownloadSummary['state']): DownloadSummary {
  const { digest, blob, bytes } = download
  return { digest, size: blob.size, pieces: blob.layout.count, held: blob.have.held, state, bytes: { ...bytes } }
}
