import { type Startable, tryParseDigest } from '@shoal/core'
import { OriginError } from '@shoal/origin'
import { LeaseFailed_Reason, PieceFailed_Reason } from '@shoal/proto'
import type {
  CoordinatorListener,
  OriginLease,
  PieceAssignment,
  SwarmFailure,
  Urgency,
  WholeBlob,
} from '../coordinator/events.ts'
import type { StoredBlob } from '../store/blob.ts'
import type { StoreError } from '../store/errors.ts'
import type { PieceHasher } from '../store/recovery.ts'
import type { Holdings, HoldingsSource, Wanted } from '../swarm/holders.ts'
import { Announced } from './announced.ts'
import { BlobReaders, checkSize } from './blob-readers.ts'
import { ChosenFetchers } from './chosen-fetchers.ts'
import type { DownloadDependencies, OriginBlobs, OriginSource } from './dependencies.ts'
import { DiskChecks } from './disk-checks.ts'
import { DiskReaders } from './disk-readers.ts'
import { Download, type DownloadOptions } from './download.ts'
import { DownloadWorkers } from './download-workers.ts'
import { DownloadError } from './errors.ts'
import { FetchesForOthers } from './fetches-for-others.ts'
import { holdingsOf, holdingsToCome } from './holdings.ts'
import { type Possessions, Proofs, type RandomOf } from './proofs.ts'
import type { BlobReader } from './reader.ts'
import { leaseFailureReason } from './reasons.ts'
import { isFileGone, isStoreFailure } from './store-failure.ts'
import { type DownloadSummary, EndedDownloads, summaryOf } from './summaries.ts'

const CHECK_MS = 250
const DISTRUST_MS = 10 * 60_000

/** A blob that a client wants. */
export interface BlobRequest {
  readonly digest: string
  readonly source: OriginSource
  /** Bytes, when the origin of `source` said so; else it is asked. What a manifest says of them is not to be believed. */
  readonly size?: number
}

/**
 * The download engine: one download per blob however many clients ask, readers in order, the scheduler's commands
 * handed to the download they are for, and answers to nodes that ask each other while there is no scheduler.
 */
export class Downloads implements Startable, CoordinatorListener, HoldingsSource {
  readonly #options: DownloadOptions
  readonly #dependencies: DownloadDependencies
  readonly #origin: OriginBlobs
  readonly #bootstrap: (multiaddrs: readonly string[]) => void
  readonly #checks: DiskChecks
  readonly #disk: DiskReaders
  readonly #readers: BlobReaders
  readonly #possessions: Possessions
  readonly #active = new Map<string, Download>()
  readonly #beginning = new Map<string, { readonly registry: string; readonly download: Promise<Download> }>()
  /** Blobs whose swarm gave wrong bytes → until when the swarm is not asked. */
  readonly #distrusted = new Map<string, number>()
  /** Downloads that clients want: their blobs are pinned to their end. */
  readonly #wanted = new Set<Download>()
  readonly #ended = new EndedDownloads()
  /** What goes on for downloads, also for those that have ended: in the worker threads, and at origins. */
  readonly #work = new Set<Promise<unknown>>()
  readonly #stopping = new AbortController()
  readonly #forOthers: FetchesForOthers
  readonly #chosen = new ChosenFetchers()
  readonly #announced: Announced
  /** Since when there is no scheduler; undefined while there is one. */
  #schedulerGoneMs: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(
    options: DownloadOptions,
    dependencies: DownloadDependencies & {
      origin: OriginBlobs
      hasher: Pick<PieceHasher, 'hashPieces'>
      possessions: Possessions
      /** Where in a blob origins are asked; see Proofs. */
      randomOf?: RandomOf
      /** Told the libp2p addresses that a scheduler gives. */
      bootstrap: (multiaddrs: readonly string[]) => void
    },
  ) {
    this.#options = options
    this.#dependencies = dependencies
    this.#origin = dependencies.origin
    this.#bootstrap = dependencies.bootstrap
    this.#checks = new DiskChecks(dependencies)
    this.#disk = new DiskReaders({
      ...dependencies,
      checks: this.#checks,
      givenUp: (digest) => this.#withdrawUnlessWhole(digest),
    })
    const { log, now, origin } = dependencies
    this.#possessions = dependencies.possessions
    this.#readers = new BlobReaders({
      disk: this.#disk,
      proofs: new Proofs({ ...dependencies, signal: this.#stopping.signal }),
      store: dependencies.store,
      want: (request) => this.want(request),
      blobSize: (digest, source, signal) => origin.blobSize(digest, source, signal),
      log,
    })
    this.#schedulerGoneMs = now()
    this.#forOthers = new FetchesForOthers({
      begin: (digest, size, { registry, repository }) =>
        this.#begin({ digest, size, source: { registry, repository } }),
      blobSize: (digest, source, signal) => origin.blobSize(digest, source, signal),
      log,
      now,
      signal: this.#stopping.signal,
    })
    this.#announced = new Announced({
      want: async (request) => {
        // Nobody else's download of the blob waits for this origin to say how long it is.
        const size = await origin.blobSize(request.digest, request.source, this.#stopping.signal)
        const download = await this.want({ ...request, size }, 'prefetch')
        this.#owns(this.#readers.proveAhead(download, request, this.#stopping.signal))
        return download
      },
      isNeeded: (digest) => !dependencies.store.find(digest)?.isComplete && !this.#active.has(digest),
      log,
      signal: this.#stopping.signal,
    })
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
    await Promise.allSettled([...this.#beginning.values()].map(({ download }) => download))
    for (const download of [...this.#active.values()]) download.stop()
    await Promise.allSettled(this.#work)
  }

  /** Active downloads, and the last ones that ended. */
  summaries(): DownloadSummary[] {
    return [...this.#ended.values(), ...[...this.#active.values()].map((download) => summaryOf(download, 'active'))]
  }

  /** When anything last moved in the download of a blob; undefined: never, or there is none. */
  movedMs(digest: string): number | undefined {
    return this.#active.get(digest)?.movedMs
  }

  /** A reader of the blob; see BlobReaders. */
  open(request: BlobRequest, signal: AbortSignal): Promise<BlobReader> {
    return this.#readers.open(request, signal)
  }

  /**
   * Begins the download of a blob, or joins the one that runs. Rejects with StoreError `SIZE_CONFLICT` when that is of a
   * blob of another size: one of the two origins is wrong, and nobody can tell which yet.
   */
  async want(request: BlobRequest, urgency: Urgency = 'interactive'): Promise<Download> {
    const download = this.#active.get(request.digest) ?? (await this.#begin(request))
    checkSize(download.blob, request.size)
    download.addSource(request.source)
    this.#pinToEnd(download)
    download.want(urgency)
    return download
  }

  /** The store gave up a blob: a download that only carried out a lease ends, as its pieces are gone. */
  withdrawn(digest: string): void {
    const download = this.#active.get(digest)
    download?.fail(new DownloadError('STOPPED', `the pieces of ${digest} were evicted, and no client wanted it`))
    this.#withdrawUnlessWhole(digest)
  }

  /** A whole blob turned up on this node without a download: others are told. */
  found({ digest, size }: WholeBlob): void {
    const download = this.#active.get(digest)
    if (download === undefined) {
      if (size > 0) this.#dependencies.coordinator.holding(digest, size)
      this.#dependencies.published(digest, false)
      return
    }
    // The scheduler sends no pieces to a node that holds all of them; a download that waits for some would stand still.
    void download.ended.then((outcome) => {
      if (outcome !== 'complete' && this.#dependencies.store.find(digest)?.isComplete) this.found({ digest, size })
    })
  }

  /** A blob that was `found` is gone from this node; a download of it, which has a file of its own, goes on. */
  vanished(digest: string): void {
    if (!this.#active.has(digest)) this.#withdrawUnlessWhole(digest)
  }

  /** Fetches blobs that a manifest announced, in their turn; their failures are only logged. */
  announce(requests: readonly BlobRequest[]): void {
    this.#announced.add(requests)
  }

  isWaiting(): boolean {
    return this.#active.size > 0
  }

  connected(isConcerned: (digest: string) => boolean): void {
    this.#schedulerGoneMs = undefined
    for (const [digest, download] of this.#active) if (isConcerned(digest)) download.join()
  }

  disconnected(isConcerned: (digest: string) => boolean): void {
    if (!this.#dependencies.coordinator.isConnected) this.#schedulerGoneMs ??= this.#dependencies.now()
    for (const [digest, download] of this.#active) if (isConcerned(digest)) download.schedulerGone()
  }

  *wholeBlobs(): Iterable<WholeBlob> {
    for (const { digest, size } of this.#dependencies.store.complete()) {
      const isGrowing = this.#active.get(digest)?.blob.have.isComplete === false
      if (size > 0 && !isGrowing) yield { digest, size }
    }
  }

  assigned(assignment: PieceAssignment): void {
    const download = this.#active.get(assignment.digest)
    if (download !== undefined) {
      download.assigned(assignment)
      return
    }
    const { digest, piece, parent } = assignment
    const { coordinator, store } = this.#dependencies
    if (store.find(digest)?.isComplete) coordinator.pieceDone(digest, piece, parent, 0)
    else coordinator.pieceFailed(digest, piece, parent, PieceFailed_Reason.LOCAL)
  }

  /** A piece has nearly come, by whatever way. */
  ending(digest: string, piece: number): void {
    this.#active.get(digest)?.ending(piece)
  }

  leased(lease: OriginLease): void {
    const { digest } = lease
    const held = this.#dependencies.store.find(digest)
    if (held?.isComplete) {
      // In the size that it has: somebody may have claimed another one.
      this.#dependencies.coordinator.holding(digest, held.size)
      if (held.size === lease.size) return
      this.#dependencies.coordinator.leaseFailed(digest, LeaseFailed_Reason.SIZE_MISMATCH)
      return
    }
    this.#beginLeased(lease).then(
      (download) => download.leased(lease),
      (error: unknown) => {
        this.#dependencies.log.warn({ digest, err: error }, 'a lease can not be taken')
        const reason = isStoreFailure(error) ? LeaseFailed_Reason.LOCAL : leaseFailureReason(error)
        this.#dependencies.coordinator.leaseFailed(digest, reason)
      },
    )
  }

  leaseTaken(digest: string): void {
    this.#active.get(digest)?.leaseTaken()
  }

  swarmFailed(digest: string, reason: SwarmFailure): void {
    this.#active.get(digest)?.swarmFailed(reason)
  }

  swarmGetsOn(digest: string): void {
    this.#active.get(digest)?.swarmGetsOn()
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

  async holdings(digest: string): Promise<Holdings | undefined> {
    const { now, store } = this.#dependencies
    const blob = store.find(digest)
    const sizeToCome = this.#forOthers.sizeOf(digest)
    const active = this.#active.get(digest)
    const isFetching = sizeToCome !== undefined || active?.isFetchingFromOrigin === true
    const isDownloading = active !== undefined
    const chosen = this.#chosen.of(digest, now())
    const prospects = { isFetching, isDownloading, ...(chosen === undefined ? {} : { fetcher: chosen.peerId }) }
    if (blob !== undefined) return holdingsOf(blob, await store.pieceMap(digest), prospects)
    const size = sizeToCome ?? chosen?.size
    return size === undefined ? undefined : holdingsToCome(size, prospects)
  }

  async fetchForOthers(digest: string, wanted: Wanted, asker: string): Promise<void> {
    const { registry, repository, firstPiece, size } = wanted
    const active = this.#active.get(digest)
    if (this.#dependencies.store.find(digest)?.isComplete) return
    const outcome =
      active === undefined
        ? await this.#forOthers.begin(digest, wanted)
        : active.fetchForOthers({ registry, repository }, firstPiece)
    if (outcome === 'refused') this.#chosen.choose(digest, { peerId: asker, size }, this.#dependencies.now())
  }

  /** Looks at a piece of a whole blob on the disk again; see DiskReaders. */
  recheck(digest: string, piece: number, signal: AbortSignal): Promise<boolean> {
    return this.#disk.recheck(digest, piece, signal)
  }

  bootstrap(multiaddrs: readonly string[]): void {
    this.#bootstrap(multiaddrs)
  }

  /** Work that `stop` waits for. */
  #owns(work: Promise<void>): void {
    this.#work.add(work)
    void work.finally(() => this.#work.delete(work))
  }

  #withdrawUnlessWhole(digest: string): void {
    const { coordinator, store } = this.#dependencies
    if (!store.find(digest)?.isComplete) coordinator.withdrawn(digest)
  }

  #pinToEnd(download: Download): void {
    if (this.#wanted.has(download)) return
    this.#wanted.add(download)
    const unpin = this.#dependencies.store.pin(download.digest)
    void download.ended.then(() => {
      unpin()
      this.#wanted.delete(download)
    })
  }

  /** Nothing is made for a lease before the origin has said that it has such a blob: a stranger may have made it up. */
  async #beginLeased({ digest, size, origin }: OriginLease): Promise<Download> {
    const active = this.#active.get(digest)
    const trueSize = active?.blob.size ?? (await this.#origin.blobSize(digest, origin, this.#stopping.signal))
    if (trueSize !== size) {
      throw new OriginError('SIZE_MISMATCH', `${digest} has ${trueSize} bytes at ${origin.registry}, not ${size}`)
    }
    return active ?? this.#begin({ digest, size, source: origin })
  }

  #begin(request: BlobRequest): Promise<Download> {
    const active = this.#active.get(request.digest)
    if (active !== undefined) return Promise.resolve(active)
    const { registry } = request.source
    const running = this.#beginning.get(request.digest)
    if (running !== undefined) return running.registry === registry ? running.download : notOurs(running.download)
    const unpin = this.#dependencies.store.pin(request.digest)
    const beginning = this.#create(request).finally(() => {
      this.#beginning.delete(request.digest)
      // Who waits for the download goes on first, and pins its blob again.
      setImmediate(unpin)
    })
    this.#beginning.set(request.digest, { registry, download: beginning })
    return beginning
  }

  async #create({ digest, size, source }: BlobRequest): Promise<Download> {
    if (tryParseDigest(digest) === undefined) throw new RangeError(`${digest} is not a digest`)
    const { now } = this.#dependencies
    const blob = await this.#partialBlob(digest, source, size)
    this.#stopping.signal.throwIfAborted()
    const isDistrusted = (this.#distrusted.get(digest) ?? 0) > now()
    const { coordinator, workers, store } = this.#dependencies
    const goneMs = coordinator.isConnected ? undefined : (this.#schedulerGoneMs ?? now())
    const failed = (error: StoreError) => this.#storeFailed(download, error)
    const download: Download = new Download(blob, source, isDistrusted, goneMs, this.#options, {
      ...this.#dependencies,
      workers: new DownloadWorkers(digest, { workers, store, failed, underWay: this.#work }),
    })
    this.#active.set(digest, download)
    void download.ended.then((outcome) => {
      this.#active.delete(digest)
      this.#ended.add(summaryOf(download, outcome === 'complete' ? 'complete' : 'failed'))
      if (outcome === 'complete') {
        const whole = store.find(digest)
        if (whole !== undefined) this.#checks.verified(whole)
        if (download.isAllFrom(source)) this.#possessions.proven(source, digest, blob.size)
        this.#dependencies.published(digest, download.bytes.origin > 0)
      } else if (outcome.code === 'DIGEST_MISMATCH') {
        this.#distrusted.set(digest, now() + DISTRUST_MS)
      }
      if (outcome !== 'complete' && outcome.code !== 'STOPPED') {
        this.#dependencies.log.error({ digest, err: outcome }, 'download failed')
      }
    })
    return download
  }

  /**
   * What the store holds of the blob, whose size is the origin's word. Rejects with StoreError `SIZE_CONFLICT` when it is
   * held whole, and so proven to have another size.
   */
  async #partialBlob(digest: string, source: OriginSource, known: number | undefined): Promise<StoredBlob> {
    const { store } = this.#dependencies
    const size = known ?? (await this.#origin.blobSize(digest, source, this.#stopping.signal))
    const held = store.find(digest)
    // A part that nobody is getting, of a size that nothing bears out.
    if (held !== undefined && !held.isComplete && held.size !== size) await store.discard(digest)
    return store.create(digest, size)
  }

  #storeFailed(download: Download, cause: StoreError): void {
    const { digest } = download
    download.fail(new DownloadError('STORE_FAILED', `can not go on with ${digest}`, { cause }))
    if (!isFileGone(cause)) return
    this.#disk.giveUp(download.blob).catch((error: unknown) => {
      this.#dependencies.log.error({ digest, err: error }, 'a blob whose file is gone can not be forgotten')
    })
  }
}

/** A download that was begun for another registry: what that answered is not for this one's clients. */
async function notOurs(beginning: Promise<Download>): Promise<Download> {
  try {
    return await beginning
  } catch {
    throw new DownloadError('NOT_SHARED', 'the blob was to be fetched for clients of another registry, and that failed')
  }
}
