import { parseDigest, ShoalError } from '@shoal/core'
import { LeaseFailed_Reason, PieceFailed_Reason } from '@shoal/proto'
import type { OriginLease, PieceAssignment, Urgency } from '../coordinator/events.ts'
import type { StoredBlob } from '../store/blob.ts'
import type { DownloadDependencies, OriginSource } from './dependencies.ts'
import { DownloadError } from './errors.ts'
import { type FallbackReason, fallbackReason } from './fallback.ts'
import { OriginFetch } from './origin-fetch.ts'
import { PieceFlights } from './piece-flights.ts'
import { PieceWaiters } from './piece-waiters.ts'
import { leaseFailureReason, pieceFailureReason } from './reasons.ts'

/** Further parents of a piece that are remembered. */
const MOST_CHANCES = 2

/** Bounds of a download's waits; see options.ts. */
export interface DownloadOptions {
  readonly originStreams: number
  readonly schedulerGraceMs: number
  readonly patienceMs: number
}

/** Verified bytes by who sent them. */
export interface BytesBySource {
  peer: number
  seed: number
  origin: number
}

/** How a download ended. */
export type DownloadOutcome = 'complete' | DownloadError

/**
 * One blob on its way to this node. The scheduler assigns pieces to fetch from parents and leases pieces to fetch
 * from the origin; when it is gone, or nothing comes, the download fetches what is missing from the origin itself.
 * Held pieces stay held whichever way they came. Ends once: whole and verified, or failed.
 */
export class Download {
  readonly blob: StoredBlob
  /** Where the scheduler may send others to. */
  readonly origin: OriginSource
  readonly bytes: BytesBySource = { peer: 0, seed: 0, origin: 0 }
  /** Resolves at the end; never rejects. */
  readonly ended: Promise<DownloadOutcome>
  readonly #options: DownloadOptions
  readonly #dependencies: DownloadDependencies
  readonly #flights: PieceFlights
  readonly #waiters = new PieceWaiters()
  /** Further parents of pieces that are on their way, for when that fails. */
  readonly #secondChances = new Map<number, PieceAssignment[]>()
  readonly #originFetch: OriginFetch
  readonly #stopping = new AbortController()
  readonly #isSwarmDistrusted: boolean
  /** The blob is one piece, and its digest the piece's: nothing else needs to be hashed. */
  readonly #isOwnPiece: boolean
  readonly #beganMs: number
  #lastProgressMs: number
  #disconnectedSinceMs: number | undefined
  /** Undefined: nobody on this node wants it. */
  #urgency: Urgency | undefined
  #hasLease = false
  #hasSwarmFailed = false
  #fallback: FallbackReason | undefined
  #isFinishing = false
  #outcome: DownloadOutcome | undefined
  #end: (outcome: DownloadOutcome) => void = () => {}
  /** Changes with each piece, for the thread that hashes the whole. */
  readonly #progress = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  #wholeHash: Promise<string> | undefined

  /** @param isSwarmDistrusted the swarm's bytes had another digest: fetch from the origin only */
  constructor(
    blob: StoredBlob,
    source: OriginSource,
    isSwarmDistrusted: boolean,
    options: DownloadOptions,
    dependencies: DownloadDependencies,
  ) {
    this.blob = blob
    this.origin = source
    this.#isSwarmDistrusted = isSwarmDistrusted
    this.#isOwnPiece = blob.layout.count === 1 && parseDigest(blob.digest).algorithm === 'sha256'
    this.#options = options
    this.#dependencies = dependencies
    this.#flights = new PieceFlights(blob)
    this.#beganMs = dependencies.now()
    this.#lastProgressMs = this.#beganMs
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
          fetched: (piece, sha256) => this.#fetched(piece, sha256),
          failed: (error) => this.#originFailed(error),
        },
      },
    )
  }

  get digest(): string {
    return this.blob.digest
  }

  /** Somebody on this node wants the blob: joins the swarm, or goes to the origin when there is none. */
  want(urgency: Urgency): void {
    if (this.#outcome !== undefined || this.#urgency === urgency || this.#urgency === 'interactive') return
    const isFirst = this.#urgency === undefined
    this.#urgency = urgency
    if (isFirst) this.#begin()
    else this.join()
  }

  #begin(): void {
    this.#lastProgressMs = this.#dependencies.now()
    if (!this.#dependencies.coordinator.isConnected) this.#disconnectedSinceMs = this.#lastProgressMs
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
    if (this.#disconnectedSinceMs !== undefined) this.#originFetch.revoke()
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
    this.#hasLease = false
  }

  addSource(source: OriginSource): void {
    this.#originFetch.addSource(source)
  }

  /** Resolves when `piece` may be read, the last one only when the whole blob is verified. Rejects with DownloadError. */
  async waitForPiece(piece: number, signal: AbortSignal): Promise<void> {
    if (this.#outcome instanceof DownloadError) throw this.#outcome
    if (this.#outcome === 'complete' || this.#isReadable(piece)) return
    await this.#waiters.wait(piece, signal)
  }

  /** Fetches an assigned piece. */
  async assigned(assignment: PieceAssignment): Promise<void> {
    const { piece, parent } = assignment
    const { coordinator, metrics, workers, now } = this.#dependencies
    if (this.blob.have.has(piece)) {
      coordinator.pieceDone(this.digest, piece, parent, 0)
      return
    }
    if (piece >= this.blob.layout.count || this.#outcome !== undefined) {
      coordinator.pieceFailed(this.digest, piece, parent, PieceFailed_Reason.LOCAL)
      return
    }
    // On its way already: its arrival is reported whoever sent it, and frees this assignment too.
    if (!this.#flights.isOpen(piece)) {
      this.#secondChances.set(piece, [...(this.#secondChances.get(piece) ?? []), assignment].slice(-MOST_CHANCES))
      return
    }
    this.#flights.begin(piece)
    const request = {
      digest: this.digest,
      piece,
      offset: this.blob.layout.offset(piece),
      length: this.blob.layout.length(piece),
      sha256: assignment.sha256,
      file: this.blob.file,
      isNewFile: this.blob.isOnePiece,
      parent,
    }
    try {
      const beganMs = now()
      await workers.fetchPiece(request, this.#stopping.signal)
      if (!(await this.#keep(piece, assignment.sha256, parent.role))) return
      coordinator.pieceDone(this.digest, piece, parent, Math.round((now() - beganMs) * 1000))
    } catch (error) {
      this.#flights.end(piece)
      if (this.#stopping.signal.aborted) return
      const code = error instanceof ShoalError ? error.code : 'local'
      metrics.pieceFailures.inc({ reason: code })
      if (code === 'corrupt' || code === 'protocol') {
        metrics.piecesRejected.inc({ reason: code })
        const fields = { digest: this.digest, piece, parent: parent.peerId, reason: code }
        this.#dependencies.log.warn(fields, 'a parent sent a wrong piece; reported')
      }
      coordinator.pieceFailed(this.digest, piece, parent, pieceFailureReason(error))
      const [second, ...others] = this.#secondChances.get(piece) ?? []
      this.#secondChances.set(piece, others)
      if (second !== undefined) await this.assigned(second)
    }
  }

  /** Fetches leased pieces from the origin and says again those that are held. */
  leased(lease: OriginLease): void {
    if (this.#outcome !== undefined) return
    this.#hasLease = true
    this.#originFetch.addSource({ ...lease.origin, ...this.#credentialsFor(lease) })
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

  swarmFailed(reason: LeaseFailed_Reason): void {
    this.#dependencies.log.warn({ digest: this.digest, reason }, 'no node could get the blob from the origin')
    this.#hasSwarmFailed = true
    this.check()
  }

  /** Goes to the origin, or back to the swarm, when it is time. Called a few times a second. */
  check(): void {
    if (this.#urgency === undefined || this.#outcome !== undefined || this.#isFinishing) return
    // Pieces that are slow because we hold them back are no reason to go and load the origin.
    if (this.#flights.count > 0 && this.#dependencies.isHeldBack?.() === true) {
      this.#lastProgressMs = this.#dependencies.now()
    }
    const reason = fallbackReason(
      {
        nowMs: this.#dependencies.now(),
        lastProgressMs: this.#lastProgressMs,
        disconnectedSinceMs: this.#disconnectedSinceMs,
        hasSwarmFailed: this.#hasSwarmFailed,
        isSwarmDistrusted: this.#isSwarmDistrusted,
      },
      this.#options,
    )
    // Its own progress must not end a fallback that was begun because nothing else came.
    if (reason === undefined && this.#fallback === 'no_progress' && this.#originFetch.isRunning) return
    if (reason !== undefined && this.#fallback === undefined) {
      this.#dependencies.metrics.fallbacks.inc({ reason })
      this.#dependencies.log.warn({ digest: this.digest, reason }, 'fetching from the origin directly')
    }
    this.#fallback = reason
    this.#originFetch.allowAll(reason !== undefined)
  }

  /** Ends the download without a result; what is held stays held. */
  stop(): void {
    this.#finish(new DownloadError('STOPPED', `the download of ${this.digest} was stopped with its node`))
  }

  /** Ends the download for a reason outside of it; what is held stays held. */
  fail(error: DownloadError): void {
    this.#finish(error)
  }

  #isReadable(piece: number): boolean {
    return this.blob.have.has(piece) && piece !== this.blob.layout.count - 1
  }

  #credentialsFor(lease: OriginLease): { authorization?: string } {
    const isSame = this.origin.registry === lease.origin.registry && this.origin.repository === lease.origin.repository
    return isSame && this.origin.authorization !== undefined ? { authorization: this.origin.authorization } : {}
  }

  #fetched(piece: number, sha256: Uint8Array): void {
    void this.#keep(piece, sha256, 'origin').then((isKept) => {
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
      this.#secondChances.delete(piece)
    }
    Atomics.add(this.#progress, 0, 1)
    Atomics.notify(this.#progress, 0)
    if (!this.#isOwnPiece) void this.#hashWhole().catch(() => {})
    const length = this.blob.layout.length(piece)
    this.bytes[source] += length
    this.#dependencies.metrics.pieceBytes.inc({ source }, length)
    this.#lastProgressMs = this.#dependencies.now()
    if (this.#isReadable(piece)) this.#waiters.release(piece)
    this.#finishIfWhole()
    return true
  }

  #finishIfWhole(): void {
    if (!this.blob.have.isComplete || this.#isFinishing || this.#outcome !== undefined) return
    this.#isFinishing = true
    void this.#verifyAndPublish().then(
      (outcome) => this.#finish(outcome),
      (cause) => this.#finish(new DownloadError('STORE_FAILED', `can not publish ${this.digest}`, { cause })),
    )
  }

  /** The digest of the whole, begun with the first piece; what goes wrong is told when the blob is to be published. */
  #hashWhole(): Promise<string> {
    const { file, size, haveBuffer: have } = this.blob
    const { algorithm } = parseDigest(this.digest)
    const growing = { file, size, algorithm, have, progress: this.#progress }
    this.#wholeHash ??= this.#dependencies.workers.hashGrowing(growing, this.#stopping.signal)
    return this.#wholeHash
  }

  async #verifyAndPublish(): Promise<DownloadOutcome> {
    const { store, coordinator } = this.#dependencies
    const { algorithm, hex } = parseDigest(this.digest)
    const { pieceDigests } = this.blob
    const isKnown = this.#isOwnPiece && pieceDigests !== undefined
    const found = isKnown ? Buffer.from(pieceDigests).toString('hex') : await this.#hashWhole()
    if (found === hex) {
      await store.publish(this.blob)
      return 'complete'
    }
    coordinator.leaseFailed(this.digest, LeaseFailed_Reason.DIGEST_MISMATCH)
    coordinator.withdrawn(this.digest)
    await store.discard(this.digest)
    const message = `the bytes fetched for ${this.digest} have the digest ${algorithm}:${found}; they were thrown away`
    return new DownloadError('DIGEST_MISMATCH', message)
  }

  #originFailed(error: unknown): void {
    const { coordinator, log } = this.#dependencies
    log.warn({ digest: this.digest, registry: this.origin.registry, err: error }, 'the origin did not give a piece')
    if (this.#hasLease) {
      this.#hasLease = false
      coordinator.leaseFailed(this.digest, leaseFailureReason(error))
    }
    if (this.#fallback === undefined) return
    this.#fallback = undefined
    if (this.#flights.count > 0) return
    const { registry, repository } = this.origin
    const message = `can not fetch ${this.digest} of ${repository} from ${registry}`
    this.#finish(new DownloadError('ORIGIN_FAILED', message, { cause: error }))
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
