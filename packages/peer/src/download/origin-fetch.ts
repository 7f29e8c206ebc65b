import { ShoalError } from '@shoal/core'
import type { StoredBlob } from '../store/blob.ts'
import type { OriginSource, PieceWorkers } from './dependencies.ts'
import type { PieceFlights, PieceRun } from './piece-flights.ts'

const RUN_BYTES = 8 * 1024 * 1024
const MAX_SOURCES = 4
/** With other credentials, or another repository, these can turn out otherwise. */
const DEPENDS_ON_SOURCE: ReadonlySet<string> = new Set(['UNAUTHORIZED', 'DENIED', 'NOT_FOUND'])

/** What happens to pieces fetched from the origin. */
export interface OriginFetchListener {
  /** A piece of `source` was written; it is the listener's to end its flight. */
  fetched(piece: number, sha256: Uint8Array, source: OriginSource): void
  /** A piece did not come; others may fetch it. */
  missed(piece: number): void
  /** No source could give what was allowed; nothing is allowed any more. */
  failed(error: unknown): void
}

/**
 * Fetches pieces of one blob from its origin, in several streams of consecutive pieces, in order: only those it was
 * allowed to (a lease, or all when the download goes on its own), and never one that is on its way already.
 */
export class OriginFetch {
  readonly #blob: StoredBlob
  readonly #flights: PieceFlights
  readonly #workers: PieceWorkers
  readonly #listener: OriginFetchListener
  readonly #signal: AbortSignal
  readonly #sources: OriginSource[]
  #streams: number
  #running = 0
  /** Aborts the runs that have begun; another one for those to come. */
  #breaking = new AbortController()
  #allowed: PieceRun[] = []
  #mayFetchAll = false

  constructor(
    blob: StoredBlob,
    flights: PieceFlights,
    options: { streams: number; sources: readonly OriginSource[] },
    dependencies: { workers: PieceWorkers; listener: OriginFetchListener; signal: AbortSignal },
  ) {
    this.#blob = blob
    this.#flights = flights
    this.#streams = options.streams
    this.#sources = [...options.sources]
    this.#workers = dependencies.workers
    this.#listener = dependencies.listener
    this.#signal = dependencies.signal
  }

  get isRunning(): boolean {
    return this.#running > 0
  }

  /** Adds a source; the newest is tried first. */
  addSource(source: OriginSource): void {
    const same = this.#sources.findIndex(
      (known) =>
        known.registry === source.registry &&
        known.repository === source.repository &&
        known.authorization === source.authorization,
    )
    if (same >= 0) this.#sources.splice(same, 1)
    this.#sources.unshift(source)
    this.#sources.length = Math.min(this.#sources.length, MAX_SOURCES)
  }

  /** Allows the pieces of a lease. */
  allow(run: PieceRun): void {
    this.#allowed.push(run)
    this.#pump()
  }

  /** Takes back what leases allowed; what is on its way goes on. */
  revoke(): void {
    this.#allowed = []
  }

  /** Takes back what leases allowed, and breaks off what is on its way, unless every missing piece is allowed. */
  breakOff(): void {
    this.revoke()
    if (this.#mayFetchAll) return
    this.#breaking.abort()
    this.#breaking = new AbortController()
  }

  /** Allows every missing piece, or no longer; leases stay. */
  allowAll(mayFetchAll: boolean): void {
    this.#mayFetchAll = mayFetchAll
    if (mayFetchAll) this.#pump()
  }

  #pump(): void {
    while (this.#running < this.#streams && !this.#signal.aborted) {
      const run = this.#nextRun()
      if (run === undefined) return
      this.#running++
      void this.#fetchRun(run).finally(() => {
        this.#running--
        this.#pump()
      })
    }
  }

  #nextRun(): PieceRun | undefined {
    const { count, pieceSize } = this.#blob.layout
    const longest = this.#streams === 1 ? count : Math.max(1, Math.floor(RUN_BYTES / pieceSize))
    while (this.#allowed[0] !== undefined) {
      const { firstPiece, pieceCount } = this.#allowed[0]
      const run = this.#flights.beginRun(firstPiece, Math.min(count, firstPiece + pieceCount), longest)
      if (run !== undefined) return run
      this.#allowed.shift()
    }
    return this.#mayFetchAll ? this.#flights.beginRun(0, count, longest) : undefined
  }

  async #fetchRun(run: PieceRun): Promise<void> {
    const pending = new Set(Array.from({ length: run.pieceCount }, (_, i) => run.firstPiece + i))
    const { signal: broken } = this.#breaking
    const onPiece = (piece: number, sha256: Uint8Array, source: OriginSource) => {
      if (!pending.delete(piece)) return
      this.#listener.fetched(piece, sha256, source)
    }
    try {
      const { rangesIgnored } = await this.#fromSources(run, pending, onPiece, AbortSignal.any([this.#signal, broken]))
      // Each further stream would make such an origin send the blob from its start again.
      if (rangesIgnored) this.#streams = 1
      this.#miss(pending)
    } catch (error) {
      this.#miss(pending)
      if (broken.aborted) return
      this.#allowed = []
      this.#mayFetchAll = false
      if (!this.#signal.aborted) this.#listener.failed(error)
    }
  }

  #miss(pieces: Iterable<number>): void {
    for (const piece of pieces) {
      this.#flights.end(piece)
      this.#listener.missed(piece)
    }
  }

  async #fromSources(
    run: PieceRun,
    pending: ReadonlySet<number>,
    onPiece: (piece: number, sha256: Uint8Array, source: OriginSource) => void,
    signal: AbortSignal,
  ): Promise<{ rangesIgnored: boolean }> {
    let lastError: unknown = new Error('there is no source')
    for (const source of [...this.#sources]) {
      const firstPiece = Math.min(...pending)
      const request = {
        digest: this.#blob.digest,
        size: this.#blob.size,
        file: this.#blob.file,
        isNewFile: this.#blob.isOnePiece,
        arrivals: this.#flights.arrivals,
        firstPiece,
        pieceCount: run.firstPiece + run.pieceCount - firstPiece,
        source,
      }
      try {
        return await this.#workers.fetchFromOrigin(request, (piece, sha256) => onPiece(piece, sha256, source), signal)
      } catch (error) {
        lastError = error
        if (!(error instanceof ShoalError && DEPENDS_ON_SOURCE.has(error.code))) throw error
        this.#sources.push(...this.#sources.splice(this.#sources.indexOf(source), 1))
      }
    }
    throw lastError
  }
}
