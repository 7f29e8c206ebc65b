import { LeaseFailed_Reason } from '@shoal/proto'
import type { BlobOrigin, OriginLease, PieceAssignment, SwarmFailure, Urgency } from '../coordinator/events.ts'
import type { StoredBlob } from '../store/blob.ts'
import { AssignedPieces } from './assigned-pieces.ts'
import { Climb } from './climb.ts'
import type { DownloadDependencies, OriginSource } from './dependencies.ts'
import { DownloadError } from './errors.ts'
import { type WishOutcome, wishOutcomeOf } from './fetches-for-others.ts'
import { HolderFetch, type HolderMode } from './holder-fetch.ts'
import type { LadderOptions, LadderView, Rung } from './ladder.ts'
import { LeaseWord } from './lease-word.ts'
import { OriginFetch } from './origin-fetch.ts'
import { PieceFailures } from './piece-failures.ts'
import { PieceFlights } from './piece-flights.ts'
import { PieceWaiters } from './piece-waiters.ts'
import { Progress } from './progress.ts'
import { Provenance } from './provenance.ts'
import { type DownloadOutcome, publishIfRight } from './publish.ts'
import { leaseFailureReason } from './reasons.ts'
import { WholeDigest } from './whole-digest.ts'

/** Bounds of a download's waits; see options.ts. */
export interface DownloadOptions extends LadderOptions {
  readonly originStreams: number
  readonly holderStreams: number
}

/** Verified bytes by who sent them. */
export interface BytesBySource {
  peer: number
  seed: number
  origin: number
}

/**
 * One blob on its way to this node. The scheduler assigns pieces to fetch from parents and leases pieces to fetch
 * from the origin; when it is gone, or nothing comes, the download goes down the ladder (ladder.ts) on its own. Held
 * pieces stay held whichever way they came. Ends once: whole and verified, or failed.
 */
export class Download {
  readonly blob: StoredBlob
  /** Where the scheduler may send others to. */
  readonly origin: OriginSource
  readonly bytes: BytesBySource = { peer: 0, seed: 0, origin: 0 }
  /** Resolves at the end; never rejects. */
  readonly ended: Promise<DownloadOutcome>
  readonly #dependencies: DownloadDependencies
  readonly #flights: PieceFlights
  readonly #provenance: Provenance
  readonly #pieceFailures: PieceFailures
  readonly #waiters = new PieceWaiters()
  readonly #assigned: AssignedPieces
  readonly #originFetch: OriginFetch
  readonly #holderFetch: HolderFetch
  readonly #progress: Progress
  readonly #stopping = new AbortController()
  readonly #isSwarmDistrusted: boolean
  readonly #beganMs: number
  #disconnectedSinceMs: number | undefined
  readonly #climb: Climb
  /** Undefined: nobody on this node wants it. */
  #urgency: Urgency | undefined
  readonly #lease = new LeaseWord()
  #hasSwarmFailed = false
  /** What came of others' wish that it be fetched from the origin; undefined: they have none. */
  #wish: WishOutcome | undefined
  #isBegun = false
  #isFinishing = false
  #outcome: DownloadOutcome | undefined
  #end: (outcome: DownloadOutcome) => void = () => {}
  readonly #wholeDigest: WholeDigest

  /**
   * @param isSwarmDistrusted the swarm's bytes had another digest: fetch from the origin only
   * @param disconnectedSinceMs since when the scheduler is gone; undefined while it is there
   */
  constructor(
    blob: StoredBlob,
    source: OriginSource,
    isSwarmDistrusted: boolean,
    disconnectedSinceMs: number | undefined,
    options: DownloadOptions,
    dependencies: DownloadDependencies,
  ) {
    this.blob = blob
    this.origin = source
    this.#isSwarmDistrusted = isSwarmDistrusted
    this.#dependencies = dependencies
    this.#flights = new PieceFlights(blob)
    this.#provenance = new Provenance(blob.layout.count)
    this.#pieceFailures = new PieceFailures(blob.digest, dependencies)
    this.#progress = new Progress(this.#flights.arrivals, blob.layout.pieceSize, dependencies.now)
    this.#beganMs = dependencies.now()
    this.#disconnectedSinceMs = disconnectedSinceMs
    this.#climb = new Climb(blob.digest, options, { ...dependencies, stepped: (rung) => this.#stepped(rung) })
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
    this.#originFetch = new OriginFetch(
      blob,
      this.#flights,
      { streams: options.originStreams, sources: [source] },
      {
        workers: dependencies.workers,
        signal: this.#stopping.signal,
        listener: {
          fetched: (piece, sha256, from) => {
            this.#provenance.add(from, piece)
            this.#fetched(piece, sha256, 'origin')
          },
          missed: (piece) => this.#assigned.takeSecondChance(piece),
          failed: (error) => this.#originFailed(error),
        },
      },
    )
    const { coordinator, finder, log, now, random, workers } = dependencies
    const { signal } = this.#stopping
    this.#wholeDigest = new WholeDigest(blob, { workers, signal })
    this.#assigned = new AssignedPieces(blob, this.#flights, {
      workers,
      coordinator,
      now,
      signal,
      listener: {
        fetched: (piece, sha256, role) => this.#keep(piece, sha256, role),
        failed: (piece, peerId, code) => this.#pieceFailures.add(piece, peerId, code),
      },
    })
    this.#holderFetch = new HolderFetch(blob, source, this.#flights, options, {
      workers,
      finder,
      log,
      now,
      random,
      signal,
      parents: () => this.#assigned.parents,
      listener: {
        fetched: (piece, sha256) => this.#fetched(piece, sha256, 'peer'),
        failed: (piece, peerId, code) => {
          this.#pieceFailures.add(piece, peerId, code)
          this.#assigned.takeSecondChance(piece)
        },
        elected: (firstPiece) => this.#fetchFrom(firstPiece),
        changed: () => this.check(),
      },
    })
  }

  get digest(): string {
    return this.blob.digest
  }

  /** Whether pieces are on their way from the origin. */
  get isFetchingFromOrigin(): boolean {
    return this.#originFetch.isRunning
  }

  /**
   * When bytes last came from anyone, were being checked, or were held back by our own limits, or the scheduler said
   * that the swarm gets on; undefined: never. Bytes count as soon as they come, as the first piece of a large blob may
   * take long.
   */
  get movedMs(): number | undefined {
    return this.#progress.look(this.#isFinishing || this.#isHeldBack)
  }

  /** Somebody on this node wants the blob: joins the swarm, or takes the next way when there is none. */
  want(urgency: Urgency): void {
    if (this.#outcome !== undefined || this.#urgency === urgency || this.#urgency === 'interactive') return
    const isFirst = this.#urgency === undefined
    this.#urgency = urgency
    if (isFirst) this.#begin()
    else this.join()
  }

  #begin(): void {
    this.#progress.restart()
    this.#finishIfWhole()
    if (this.#isFinishing) return
    this.join()
    this.check()
  }

  /** Tells the schedulers what is wanted and what is held; again whenever another one is there. */
  join(): void {
    const { coordinator } = this.#dependencies
    if (this.#isSwarmDistrusted || !coordinator.isConnected) return
    // Who leased is gone: whoever is there now leases what is missing anew, to this node or to another.
    // What other nodes wish goes on.
    if (this.#disconnectedSinceMs !== undefined) {
      this.#progress.restart()
      if (this.#wish === undefined) this.#originFetch.revoke()
    }
    this.#disconnectedSinceMs = undefined
    this.#hasSwarmFailed = false
    const { registry, repository } = this.origin
    const have = this.blob.have.toBytes()
    if (this.#urgency === undefined) coordinator.holdingPart(this.digest, this.blob.size, have)
    else coordinator.join(this.digest, this.blob.size, { registry, repository }, have, this.#urgency)
  }

  /** The scheduler that decided on the blob does so no longer. */
  schedulerGone(): void {
    this.#disconnectedSinceMs ??= this.#dependencies.now()
    this.#lease.ended()
    this.check()
  }

  /**
   * Another client wants the blob. Its origin is asked too if it is of the same registry: bytes of two registries are
   * never mixed, as the one that sends wrong ones could not be told from the other.
   */
  addSource(source: OriginSource): void {
    if (source.registry === this.origin.registry) this.#originFetch.addSource(source)
  }

  /** Whether the origin itself gave this node the piece, which is held. */
  isFrom(origin: BlobOrigin, piece: number): boolean {
    return this.blob.have.has(piece) && this.#provenance.isFrom(origin, piece)
  }

  /** Whether the origin itself gave this node the whole blob. */
  isAllFrom(origin: BlobOrigin): boolean {
    return this.#provenance.isAllFrom(origin)
  }

  /** Resolves when `piece` may be read, the last one only when the whole blob is verified. Rejects with DownloadError. */
  async waitForPiece(piece: number, signal: AbortSignal): Promise<void> {
    if (this.#outcome instanceof DownloadError) throw this.#outcome
    if (this.#outcome === 'complete' || this.#isReadable(piece)) return
    await this.#waiters.wait(piece, signal)
  }

  /** Fetches an assigned piece. */
  assigned(assignment: PieceAssignment): void {
    void this.#assigned.fetch(assignment)
  }

  /** An assigned piece has nearly come. */
  ending(piece: number): void {
    this.#assigned.ending(piece)
  }

  /** Fetches leased pieces from the origin and says again those that are held. */
  leased(lease: OriginLease): void {
    if (this.#outcome !== undefined) return
    if (this.#isOthers(lease.origin)) {
      this.#dependencies.coordinator.leaseFailed(this.digest, LeaseFailed_Reason.LOCAL)
      return
    }
    this.#lease.begun(this.#dependencies.now())
    this.#originFetch.addSource({ ...lease.origin, ...this.#credentialsFor(lease.origin) })
    const end = Math.min(this.blob.layout.count, lease.firstPiece + lease.pieceCount)
    for (let piece = lease.firstPiece; piece < end; piece++) {
      const sha256 = this.blob.pieceDigests?.subarray(piece * 32, piece * 32 + 32)
      if (this.blob.have.has(piece) && sha256 !== undefined) {
        this.#dependencies.coordinator.pieceFetched(this.digest, piece, sha256, 0)
      }
    }
    this.#originFetch.allow(lease)
    this.#finishIfWhole()
  }

  /** Another node fetches from the origin for all now: what the lease allowed is broken off, unless nodes asked for it. */
  leaseTaken(): void {
    if (!this.#lease.isHeld) return
    this.#lease.ended()
    if (this.#wish !== undefined) return
    this.#dependencies.log.info({ digest: this.digest }, 'another node fetches from the origin now')
    this.#originFetch.breakOff()
  }

  /** Fetches the blob from the origin, from `firstPiece` on, because other nodes asked this one to; what came of it. */
  fetchForOthers(origin: BlobOrigin, firstPiece: number): WishOutcome {
    const hasFailed = this.#wish !== undefined && this.#wish !== 'fetches'
    if (this.#outcome !== undefined || hasFailed || this.#isOthers(origin)) return this.#wish ?? 'failed'
    this.#wish = 'fetches'
    if (this.#originFetch.isRunning) return this.#wish
    this.#originFetch.addSource({ ...origin, ...this.#credentialsFor(origin) })
    this.#fetchFrom(firstPiece)
    this.#finishIfWhole()
    return this.#wish
  }

  swarmFailed(reason: SwarmFailure): void {
    this.#dependencies.log.warn({ digest: this.digest, reason }, 'no node could get the blob from the origin')
    this.#hasSwarmFailed = true
    this.check()
  }

  /** The scheduler says that others get pieces, and that this node will: no reason to lose patience. */
  swarmGetsOn(): void {
    this.#progress.movedElsewhere()
    if (this.#climb.rung === 'scheduler') this.#progress.restart()
  }

  /** Moves on the ladder when it is time, and fetches what that allows. Called a few times a second. */
  check(): void {
    // What came since the last look is to be dated now, not when a client asks.
    void this.movedMs
    if (this.#outcome !== undefined || this.#isFinishing) return
    // Pieces that are slow because we hold them back are no reason to go and load the origin.
    if (this.#isHeldBack) this.#progress.restart()
    this.#tellOfLease()
    if (this.#urgency === undefined) return
    this.#climb.move(this.#view())
    this.#holderFetch.turnTo(this.#holderMode)
    this.#holderFetch.tick()
    this.#originFetch.allowAll(this.#climb.rung === 'origin')
  }

  /** Ends the download without a result; what is held stays held. */
  stop(): void {
    this.#finish(new DownloadError('STOPPED', `the download of ${this.digest} was stopped with its node`))
  }

  /** Ends the download for a reason outside of it; what is held stays held. */
  fail(error: DownloadError): void {
    this.#finish(error)
  }

  /** Whether our own limits hold back what is on its way. */
  get #isHeldBack(): boolean {
    return this.#flights.count > 0 && this.#dependencies.isHeldBack?.() === true
  }

  #tellOfLease(): void {
    const { coordinator, now } = this.#dependencies
    if (!this.#originFetch.isRunning || !this.#lease.isDue(this.#progress.progressMs, now())) return
    coordinator.leaseProgress(this.digest)
  }

  #isReadable(piece: number): boolean {
    return this.blob.have.has(piece) && piece !== this.blob.layout.count - 1
  }

  #view(): LadderView {
    return {
      nowMs: this.#dependencies.now(),
      lastProgressMs: this.#progress.progressMs,
      disconnectedSinceMs: this.#disconnectedSinceMs,
      hasSwarmFailed: this.#hasSwarmFailed,
      isSwarmDistrusted: this.#isSwarmDistrusted,
      isSearching: this.#holderFetch.isSearching,
      hasHope: this.#holderFetch.hasHope || this.#originFetch.isRunning,
    }
  }

  /** Holders are sought as soon as the scheduler is gone, so that they are known when its time is up. */
  get #holderMode(): HolderMode {
    if (this.#isSwarmDistrusted || this.#hasSwarmFailed) return 'rest'
    if (this.#climb.rung !== 'scheduler') return 'fetch'
    return this.#disconnectedSinceMs === undefined ? 'rest' : 'seek'
  }

  #stepped(rung: Rung): void {
    if (rung === 'rendezvous') this.#holderFetch.meet()
  }

  /** Allows every missing piece from the origin, those from `firstPiece` on first. */
  #fetchFrom(firstPiece: number): void {
    const { count } = this.blob.layout
    this.#originFetch.allow({ firstPiece, pieceCount: count - firstPiece })
    if (firstPiece > 0) this.#originFetch.allow({ firstPiece: 0, pieceCount: firstPiece })
  }

  /** Whether a client here waits for bytes of another registry: they are not mixed, whoever says so. */
  #isOthers({ registry }: BlobOrigin): boolean {
    return this.#urgency !== undefined && registry !== this.origin.registry
  }

  #credentialsFor({ registry, repository }: BlobOrigin): { authorization?: string } {
    const isSame = this.origin.registry === registry && this.origin.repository === repository
    return isSame && this.origin.authorization !== undefined ? { authorization: this.origin.authorization } : {}
  }

  /** A piece came on another way than by an assignment: the scheduler, if there is one, is told that it is here. */
  #fetched(piece: number, sha256: Uint8Array, source: keyof BytesBySource): void {
    void this.#keep(piece, sha256, source).then((isKept) => {
      if (isKept) this.#dependencies.coordinator.pieceFetched(this.digest, piece, sha256, 0)
    })
  }

  /** Records a verified piece, ends its flight, wakes its readers; false when the store could not. */
  async #keep(piece: number, sha256: Uint8Array, source: keyof BytesBySource): Promise<boolean> {
    try {
      await this.#dependencies.store.addPiece(this.blob, piece, sha256)
    } catch (cause) {
      this.#finish(new DownloadError('STORE_FAILED', `can not keep a piece of ${this.digest}`, { cause }))
      return false
    } finally {
      this.#flights.end(piece)
      this.#assigned.forget(piece)
    }
    this.#wholeDigest.pieceAdded()
    const length = this.blob.layout.length(piece)
    this.bytes[source] += length
    this.#dependencies.metrics.pieceBytes.inc({ source }, length)
    this.#progress.pieceCame()
    if (!this.#isBegun && !this.blob.isOnePiece) this.#dependencies.begun(this.digest, source === 'origin')
    this.#isBegun = true
    if (this.#isReadable(piece)) this.#waiters.release(piece)
    this.#finishIfWhole()
    return true
  }

  #finishIfWhole(): void {
    if (!this.blob.have.isComplete || this.#isFinishing || this.#outcome !== undefined) return
    this.#isFinishing = true
    void publishIfRight(this.blob, this.#wholeDigest, this.#dependencies).then(
      (outcome) => this.#finish(outcome),
      (cause) => this.#finish(new DownloadError('STORE_FAILED', `can not publish ${this.digest}`, { cause })),
    )
  }

  #originFailed(error: unknown): void {
    const { coordinator, log } = this.#dependencies
    log.warn({ digest: this.digest, registry: this.origin.registry, err: error }, 'the origin did not give a piece')
    if (this.#lease.isHeld) {
      this.#lease.ended()
      coordinator.leaseFailed(this.digest, leaseFailureReason(error))
    }
    const isOnlyAsked = this.#urgency === undefined && this.#wish === 'fetches'
    if (this.#wish === 'fetches') this.#wish = wishOutcomeOf(error)
    if (isOnlyAsked) this.#finish(this.#originError(error))
    if (this.#climb.rung !== 'origin' || this.#flights.count > 0) return
    const hasMoved = this.#climb.moveFromOrigin({ ...this.#view(), hasHope: this.#holderFetch.hasHope })
    if (!hasMoved) this.#finish(this.#originError(error))
  }

  #originError(cause: unknown): DownloadError {
    const { registry, repository } = this.origin
    const message = `can not fetch ${this.digest} of ${repository} from ${registry}`
    return new DownloadError('ORIGIN_FAILED', message, { cause })
  }

  #finish(outcome: DownloadOutcome): void {
    if (this.#outcome !== undefined) return
    this.#outcome = outcome
    const { coordinator, metrics, now } = this.#dependencies
    if (outcome === 'complete') {
      metrics.downloadSeconds.observe((now() - this.#beganMs) / 1000)
      this.#waiters.releaseAll()
    } else {
      this.#stopping.abort(outcome)
      coordinator.leave(this.digest)
      this.#waiters.fail(outcome)
    }
    metrics.downloads.inc({ outcome: outcome === 'complete' ? 'complete' : outcome.code.toLowerCase() })
    this.#end(outcome)
  }
}
