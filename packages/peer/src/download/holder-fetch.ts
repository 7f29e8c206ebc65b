import { type Logger, pause, withDeadline } from '@shoal/core'
import type { BlobOrigin } from '../coordinator/events.ts'
import type { LaneErrorCode } from '../lane/errors.ts'
import type { StoredBlob } from '../store/blob.ts'
import type { Holder, HolderFinder, NamedNode, Wanted } from '../swarm/holders.ts'
import type { PieceWorkers } from './dependencies.ts'
import { type KnownHolder, KnownHolders } from './known-holders.ts'
import { choosePiece } from './piece-choice.ts'
import { laneCodeOf } from './piece-failures.ts'
import type { PieceFlights } from './piece-flights.ts'
import { PiecePace } from './piece-pace.ts'
import { pieceRequestOf } from './piece-request.ts'
import { PieceTurns } from './piece-turns.ts'

/** Nodes of which one fetches a blob from the origin on behalf of all, when there is no scheduler to choose it. */
const FETCHERS = 2
/**
 * One that does not answer for so long is not waited for any longer. An answer takes up to a second (WISH_MS), since the
 * origin is asked first.
 */
const CALL_NEXT_MS = 1500
/** Holders that are asked in one round. */
const MAX_ASKED = 24
/**
 * Holders are asked again after so long for each of them, as each question costs both ends a stream; sooner when nothing
 * is on its way from them. What was not heard of seems to be had from the seed only: with a second between questions
 * it sent three quarters of its pieces once more, and all waited for its link.
 */
const REFRESH_MS_EACH = 40
const IDLE_REFRESH_MS_EACH = 20
/** However few they are: those that are called upon to fetch for all are asked too. */
const LEAST_REFRESH_MS = 250
/** The DHT is asked again for holders after this, and twice as late, up to the maximum, after it named none. */
const LOOKUP_MS = 3000
const MAX_LOOKUP_MS = 30_000
const ASK_DEADLINE_MS = 2000
const SHA256_BYTES = 32
/**
 * A node with fewer pieces on their way does not wait for its turn, as who has it may be gone; with none it does not
 * even spare the links of those that have all.
 */
const OUT_OF_TURN = 2

/** A node that may be asked to fetch from the origin for all, beginning at a piece. */
interface Fetcher {
  readonly peerId: string
  readonly firstPiece: number
}

/** A piece on its way from a holder. */
interface Flight {
  readonly holder: KnownHolder
  readonly beganMs: number
  readonly hurry: AbortController
}

/**
 * What is to be done about holders: nothing; have them found and asked what they hold, so that they are known when it
 * is time; or fetch from them too.
 */
export type HolderMode = 'rest' | 'seek' | 'fetch'

/** What happens to pieces fetched from holders. */
export interface HolderFetchListener {
  /** A piece was written and is right; it is the listener's to end its flight. */
  fetched(piece: number, sha256: Uint8Array): void
  /** A piece did not come; its flight has ended. */
  failed(piece: number, peerId: string, code: LaneErrorCode): void
  /** This node is to fetch from the origin for all, from `firstPiece` on: it is near the digest, or was chosen. */
  elected(firstPiece: number): void
  /** The search has ended, or hope may be gone. */
  changed(): void
}

/**
 * Fetches pieces of one blob from nodes that hold some of it, without a scheduler: finds them in the DHT, asks them what
 * they hold, again and again, and keeps some pieces on their way. Owns no timer: `tick` is called a few times a second.
 */
export class HolderFetch {
  readonly #blob: StoredBlob
  readonly #origin: BlobOrigin
  readonly #flights: PieceFlights
  readonly #options: { readonly holderStreams: number; readonly holdersMs: number }
  readonly #dependencies: {
    readonly workers: PieceWorkers
    readonly finder: HolderFinder
    readonly listener: HolderFetchListener
    readonly log: Logger
    readonly now: () => number
    readonly random: () => number
    readonly signal: AbortSignal
    readonly parents: () => Iterable<NamedNode>
  }
  readonly #known = new KnownHolders()
  /** Who is to fetch from the origin for all: the first, and each next one when those before it do not. */
  #fetchers: readonly Fetcher[] = []
  /** How many of them were called upon. */
  #called = 0
  /** Whom the origin does not refuse, by word of those. */
  readonly #chosen = new Set<string>()
  #mode: HolderMode = 'rest'
  readonly #inFlight = new Map<number, Flight>()
  readonly #pace = new PiecePace()
  #round: Promise<void> | undefined
  #isMeeting = false
  #isElected = false
  #hasLookedUp = false
  #lookUpAtMs = Number.NEGATIVE_INFINITY
  #lookUpWaitMs = LOOKUP_MS
  #askedMs = Number.NEGATIVE_INFINITY

  /** @param origin where the fetchers of a rendezvous are sent to */
  constructor(
    blob: StoredBlob,
    origin: BlobOrigin,
    flights: PieceFlights,
    options: { readonly holderStreams: number; readonly holdersMs: number },
    dependencies: {
      workers: PieceWorkers
      finder: HolderFinder
      listener: HolderFetchListener
      log: Logger
      now: () => number
      random: () => number
      signal: AbortSignal
      /** Nodes that hold some of the blob by a scheduler's word, while there was one. */
      parents: () => Iterable<NamedNode>
    },
  ) {
    this.#blob = blob
    this.#origin = origin
    this.#flights = flights
    this.#options = options
    this.#dependencies = dependencies
  }

  /** Whether holders, or the fetchers of a rendezvous, are still being found or asked for the first time. */
  get isSearching(): boolean {
    return this.#isMeeting || (this.#mode === 'fetch' && !this.#hasLookedUp)
  }

  /** Whether some known node has, or is fetching from the origin, some of what is missing. */
  get hasHope(): boolean {
    if (this.#mode !== 'fetch') return false
    return (
      this.#inFlight.size > 0 || this.#known.hasAny(this.#blob.layout.count, (piece) => !this.#blob.have.has(piece))
    )
  }

  /** Does from now on what `mode` says; pieces on their way still come. */
  turnTo(mode: HolderMode): void {
    const before = this.#mode
    if (mode === before) return
    this.#mode = mode
    if (before === 'rest') {
      this.#hasLookedUp = false
      this.#lookUpAtMs = Number.NEGATIVE_INFINITY
      this.#lookUpWaitMs = LOOKUP_MS
      this.#askedMs = Number.NEGATIVE_INFINITY
    }
    this.#fetchers = []
    this.#called = 0
    this.#chosen.clear()
    this.tick()
  }

  /** Has a node nearest to the digest fetch the blob from the origin; it is asked for it from now on. */
  meet(): void {
    this.#isMeeting = true
    void this.#meet().finally(() => {
      this.#isMeeting = false
      this.#dependencies.listener.changed()
    })
  }

  /** Asks holders anew when it is time, and fetches what they have. */
  tick(): void {
    if (this.#mode === 'rest' || this.#dependencies.signal.aborted) return
    this.#pump()
    this.#hurryLate()
    if (this.#round !== undefined || this.#dependencies.now() - this.#askedMs < this.#refreshMs) return
    this.#askedMs = this.#dependencies.now()
    this.#round = this.#askAll().finally(() => {
      this.#round = undefined
      this.#dependencies.listener.changed()
    })
  }

  get #refreshMs(): number {
    const eachMs = this.#inFlight.size > 0 ? REFRESH_MS_EACH : IDLE_REFRESH_MS_EACH
    return Math.max(LEAST_REFRESH_MS, this.#known.ids.length * eachMs)
  }

  async #meet(): Promise<void> {
    const { count } = this.#blob.layout
    const ids = await this.#nearest()
    this.#fetchers = ids.map((peerId, rank) => ({ peerId, firstPiece: Math.floor((count * rank) / ids.length) }))
    await this.#callNext()
  }

  /** Calls upon the next of the fetchers, and on, until one answers that it fetches. */
  async #callNext(): Promise<void> {
    const { finder, signal } = this.#dependencies
    const fetcher = this.#fetchers[this.#called]
    if (fetcher === undefined || signal.aborted) return
    const calls = ++this.#called
    if (fetcher.peerId === finder.peerId) {
      this.#elect(fetcher.firstPiece)
      return
    }
    const answered = new AbortController()
    const asking = this.#ask(fetcher).finally(() => answered.abort())
    await pause(CALL_NEXT_MS, AbortSignal.any([signal, answered.signal]))
    if (!answered.signal.aborted && this.#called === calls) await this.#callNext()
    await asking
  }

  async #nearest(): Promise<readonly string[]> {
    const { finder, log, signal } = this.#dependencies
    const { digest } = this.#blob
    try {
      return await finder.nearest(digest, FETCHERS, withDeadline(this.#options.holdersMs, signal))
    } catch (error) {
      log.debug({ digest, err: error }, 'the nodes nearest to a blob can not be found')
      return []
    }
  }

  /** One round: all known holders, those to meet, and, when it is time, those that the DHT names. */
  async #askAll(): Promise<void> {
    const asking = new Map<string, Promise<void>>()
    const ask = (node: NamedNode) => {
      if (!asking.has(node.peerId) && asking.size < MAX_ASKED) asking.set(node.peerId, this.#ask(node))
    }
    for (const { peerId } of this.#fetchers.slice(0, this.#called)) ask({ peerId })
    for (const peerId of this.#chosen) ask({ peerId })
    for (const peerId of this.#known.ids) ask({ peerId })
    // The DHT takes a moment, and does not know of most yet.
    if (!this.#hasLookedUp) for (const parent of this.#dependencies.parents()) ask(parent)
    if (this.#dependencies.now() >= this.#lookUpAtMs) await this.#lookUp(ask)
    await Promise.all(asking.values())
    this.#hasLookedUp = true
  }

  /** Has the DHT name holders, as far as it comes in time. */
  async #lookUp(found: (node: NamedNode) => void): Promise<void> {
    const { finder, log, now, signal } = this.#dependencies
    const { digest } = this.#blob
    let count = 0
    try {
      for await (const peerId of finder.find(digest, withDeadline(this.#options.holdersMs, signal))) {
        found({ peerId })
        if (++count >= MAX_ASKED) break
      }
    } catch (error) {
      log.debug({ digest, err: error }, 'the DHT did not name all holders of a blob in time')
    }
    this.#lookUpWaitMs = count > 0 ? LOOKUP_MS : Math.min(MAX_LOOKUP_MS, 2 * this.#lookUpWaitMs)
    this.#lookUpAtMs = now() + this.#lookUpWaitMs
  }

  /** Asks one node what it holds; never rejects. */
  async #ask(node: NamedNode): Promise<void> {
    const { finder, log, signal } = this.#dependencies
    const { digest, size } = this.#blob
    const { peerId } = node
    if (peerId === finder.peerId || this.#known.isBarred(peerId)) return
    try {
      const deadline = withDeadline(ASK_DEADLINE_MS, signal)
      const fetcher = this.#blob.have.isComplete ? undefined : this.#calledFetcher(peerId)
      const holder = await finder.ask(node, { digest, size }, this.#wanted(fetcher), deadline)
      if (holder === undefined) this.#known.forget(peerId)
      else this.#known.update(holder)
      if (fetcher !== undefined) await this.#follow(fetcher, holder?.fetcher)
      if (!this.#isOfUse(holder)) await this.#lost(peerId)
    } catch (error) {
      this.#known.askFailed(peerId)
      log.debug({ digest, peer: peerId, err: error }, 'a node does not say what it holds')
      await this.#lost(peerId)
    }
    this.#pump()
  }

  #calledFetcher(peerId: string): Fetcher | undefined {
    return this.#fetchers.slice(0, this.#called).find((one) => one.peerId === peerId)
  }

  /** Whether a node has some of what is missing, is fetching it, or names who does. */
  #isOfUse(holder: Holder | undefined): boolean {
    if (holder === undefined) return false
    if (holder.isFetching || holder.fetcher !== undefined) return true
    for (let piece = 0; piece < this.#blob.layout.count; piece++) {
      if (holder.have.has(piece) && !this.#blob.have.has(piece)) return true
    }
    return this.#blob.have.isComplete
  }

  /** A node gives nothing: if it is the fetcher that was called upon last, the next one is. */
  async #lost(peerId: string): Promise<void> {
    if (this.#fetchers[this.#called - 1]?.peerId === peerId) await this.#callNext()
  }

  #wanted(fetcher: Fetcher | undefined): Wanted | undefined {
    if (fetcher === undefined) return undefined
    const { registry, repository } = this.#origin
    return { size: this.#blob.size, registry, repository, firstPiece: fetcher.firstPiece }
  }

  /** The origin refuses the blob to `fetcher`, which has chosen another node, perhaps this one, in its place. */
  async #follow(fetcher: Fetcher, chosen: string | undefined): Promise<void> {
    if (chosen === undefined || this.#chosen.has(chosen) || this.#chosen.size >= MAX_ASKED) return
    this.#chosen.add(chosen)
    if (chosen === this.#dependencies.finder.peerId) this.#elect(fetcher.firstPiece)
    else await this.#ask({ peerId: chosen })
  }

  #elect(firstPiece: number): void {
    if (this.#isElected) return
    this.#isElected = true
    this.#dependencies.listener.elected(firstPiece)
  }

  #pump(): void {
    const { finder, now, random, signal } = this.#dependencies
    // Who takes its turn is worked out only where there is room for a piece.
    if (this.#mode !== 'fetch' || this.#inFlight.size >= this.#options.holderStreams) return
    const { count } = this.#blob.layout
    const turns = new PieceTurns(finder.peerId, this.#known.downloaders)
    const isOpen = (piece: number) => this.#flights.isOpen(piece)
    const isTurn = (piece: number, holders: number) => turns.isOwn(piece, holders)
    while (this.#inFlight.size < this.#options.holderStreams && !signal.aborted) {
      const { size } = this.#inFlight
      const outOfTurn = size === 0 ? 'any' : size < OUT_OF_TURN ? 'shared' : 'none'
      const choice = choosePiece({ count, isOpen, holders: this.#known.at(now()), isTurn, outOfTurn }, random)
      if (choice === undefined) return
      this.#flights.begin(choice.piece)
      void this.#fetch(choice.piece, choice.holder)
    }
  }

  /** Has holders left that are quiet while a piece of theirs is late and another one has it. */
  #hurryLate(): void {
    const nowMs = this.#dependencies.now()
    for (const [piece, { holder, beganMs, hurry }] of this.#inFlight) {
      if (hurry.signal.aborted || nowMs - beganMs < this.#pace.lateMs) continue
      const isToBeHad = this.#known.at(nowMs).some((one) => one !== holder && one.isFree && one.have.has(piece))
      if (isToBeHad) hurry.abort()
    }
  }

  async #fetch(piece: number, holder: KnownHolder): Promise<void> {
    const { listener, now, signal, workers } = this.#dependencies
    const { peerId, sha256s } = holder.view
    const sha256 = sha256s.slice(piece * SHA256_BYTES, (piece + 1) * SHA256_BYTES)
    const flight: Flight = { holder, beganMs: now(), hurry: new AbortController() }
    this.#inFlight.set(piece, flight)
    holder.inFlight++
    try {
      const request = pieceRequestOf(this.#blob, this.#flights.arrivals, piece, sha256, holder.view)
      await workers.fetchPiece(request, signal, flight.hurry.signal)
      this.#pace.came(now() - flight.beganMs)
      this.#known.succeeded(holder)
      listener.fetched(piece, sha256)
    } catch (error) {
      this.#flights.end(piece)
      if (signal.aborted) return
      const code = laneCodeOf(error)
      this.#known.failed(holder, piece, code, now())
      listener.failed(piece, peerId, code)
    } finally {
      if (this.#inFlight.get(piece) === flight) this.#inFlight.delete(piece)
      holder.inFlight--
      this.#pump()
    }
  }
}
