import type { HaveSet } from '@shoal/core'
import type { LaneErrorCode } from '../lane/errors.ts'
import type { Holder } from '../swarm/holders.ts'
import type { PieceHolder } from './piece-choice.ts'
import { isUnforgiven } from './piece-failures.ts'

/** Pieces on their way from one holder at once. */
const MAX_FROM_ONE = 4
/** From one that has all, and is asked by all: what it sends to one can be passed on when it has come. */
const MAX_FROM_SOURCE = 2
/** A holder that is busy is left alone for this long; one that does not answer for this long, twice as long each time. */
const BUSY_MS = 250
const SILENT_MS = 1000
/** A holder that did not answer, or did not send, so often in a row is not asked again. */
const MAX_FAILURES = 3
/** Holders that are remembered, also the bad ones. */
const MAX_KNOWN = 256

/** A node that holds some of a blob, as one download knows it. */
class KnownHolder implements PieceHolder {
  view: Holder
  isFree = true
  inFlight = 0
  failures = 0
  /** Questions in a row that it did not answer. */
  silences = 0
  restUntilMs = Number.NEGATIVE_INFINITY

  constructor(view: Holder) {
    this.view = view
  }

  get have(): HaveSet {
    return this.view.have
  }

  get isSource(): boolean {
    return this.view.isFetching || this.view.have.isComplete
  }
}

export type { KnownHolder }

/** Who holds some of one blob, and who is not to be asked. Times in milliseconds of one clock. */
export class KnownHolders {
  readonly #known = new Map<string, KnownHolder>()
  readonly #barred = new Set<string>()

  /** Ids of those that may be asked what they hold. */
  get ids(): readonly string[] {
    return [...this.#known.keys()]
  }

  isBarred(peerId: string): boolean {
    return this.#barred.has(peerId)
  }

  /** The node said what it holds. */
  update(view: Holder): void {
    const { peerId } = view
    if (this.#barred.has(peerId)) return
    const known = this.#known.get(peerId)
    if (known !== undefined) {
      known.view = view
      known.silences = 0
    } else if (this.#known.size < MAX_KNOWN) {
      this.#known.set(peerId, new KnownHolder(view))
    }
  }

  /** The node holds nothing. */
  forget(peerId: string): void {
    this.#known.delete(peerId)
  }

  /** The node did not answer; what it said before stands for a while, as it may just be asked by many. */
  askFailed(peerId: string): void {
    const known = this.#known.get(peerId)
    if (known !== undefined && ++known.silences >= MAX_FAILURES) this.#known.delete(peerId)
  }

  /** All that are not barred, each with whether it may be asked for a piece now. */
  at(nowMs: number): readonly KnownHolder[] {
    const holders = [...this.#known.values()]
    for (const holder of holders) {
      const most = holder.isSource ? MAX_FROM_SOURCE : MAX_FROM_ONE
      holder.isFree = holder.inFlight < most && holder.restUntilMs <= nowMs
    }
    return holders
  }

  /** Those that download the blob, but not from its origin, which sends them nothing that others have. */
  get downloaders(): readonly Holder[] {
    const views = [...this.#known.values()].map(({ view }) => view)
    return views.filter(({ isDownloading, isFetching }) => isDownloading && !isFetching)
  }

  /** Whether some node holds a piece for which `isMissing`, is fetching from the origin, or names one that is to. */
  hasAny(count: number, isMissing: (piece: number) => boolean): boolean {
    for (const { view } of this.#known.values()) {
      if (view.isFetching || view.fetcher !== undefined) return true
      for (let piece = 0; piece < count; piece++) if (view.have.has(piece) && isMissing(piece)) return true
    }
    return false
  }

  /** A piece came from the holder and was right. */
  succeeded(holder: KnownHolder): void {
    holder.failures = 0
  }

  /** A piece did not come. */
  failed(holder: KnownHolder, piece: number, code: LaneErrorCode, nowMs: number): void {
    const { peerId } = holder.view
    if (code === 'notHeld') {
      holder.view.have.delete(piece)
      return
    }
    if (code === 'busy') {
      holder.restUntilMs = nowMs + BUSY_MS
      return
    }
    const isBarred = isUnforgiven(code)
    // Several pieces were on their way on one connection: it failed once.
    if (!isBarred && holder.restUntilMs > nowMs) return
    holder.restUntilMs = nowMs + SILENT_MS * 2 ** holder.failures
    if (isBarred || ++holder.failures >= MAX_FAILURES) {
      this.#barred.add(peerId)
      this.#known.delete(peerId)
    }
  }
}
