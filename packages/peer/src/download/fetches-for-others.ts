import type { Logger } from '@shoal/core'
import { LeaseFailed_Reason } from '@shoal/proto'
import type { Wanted } from '../swarm/holders.ts'
import type { OriginBlobs } from './dependencies.ts'
import type { Download } from './download.ts'
import { leaseFailureReason } from './reasons.ts'

/** Blobs that are fetched on behalf of others at once. */
const MAX_UNDER_WAY = 16
/** A blob that could not be fetched is not tried again for others before this. */
const REFUSE_MS = 30_000
const MAX_REFUSED = 1000

/**
 * What came of a wish: `fetches` it; `refused` by the origin, so that a node with other credentials might get it;
 * `failed` otherwise.
 */
export type WishOutcome = 'fetches' | 'refused' | 'failed'

/**
 * Blobs that this node fetches from their origin because others asked it to, there being no scheduler to lease them. As
 * for a lease, it uses its own credentials or none, asks only origins that it may ask, and nothing is believed of the
 * size: the origin is asked for it before any room is made.
 */
export class FetchesForOthers {
  readonly #begin: (digest: string, size: number, wanted: Wanted) => Promise<Download>
  readonly #blobSize: OriginBlobs['blobSize']
  readonly #log: Logger
  readonly #now: () => number
  readonly #signal: AbortSignal
  /** Blobs whose download is being begun, with their bytes as they were asked for. */
  readonly #beginning = new Map<string, { readonly size: number; readonly outcome: Promise<WishOutcome> }>()
  readonly #begun = new Set<Download>()
  readonly #gaveUp = new Map<string, { readonly outcome: WishOutcome; readonly untilMs: number }>()

  constructor(dependencies: {
    /** The download of the blob, begun if there is none. */
    begin: (digest: string, size: number, wanted: Wanted) => Promise<Download>
    blobSize: OriginBlobs['blobSize']
    log: Logger
    now: () => number
    signal: AbortSignal
  }) {
    this.#begin = dependencies.begin
    this.#blobSize = dependencies.blobSize
    this.#log = dependencies.log
    this.#now = dependencies.now
    this.#signal = dependencies.signal
  }

  /** Bytes of the blob while its download is being begun. */
  sizeOf(digest: string): number | undefined {
    return this.#beginning.get(digest)?.size
  }

  /**
   * Begins to fetch a blob of which there is no download, unless that did not work a short while ago, or would be too
   * much. Resolves when it is known what comes of it; never rejects.
   */
  async begin(digest: string, wanted: Wanted): Promise<WishOutcome> {
    const beginning = this.#beginning.get(digest)
    if (beginning !== undefined) return beginning.outcome
    const before = this.#gaveUp.get(digest)
    if (before !== undefined && before.untilMs > this.#now()) return before.outcome
    if (this.#underWay() >= MAX_UNDER_WAY) return 'failed'
    const outcome = this.#fetch(digest, wanted)
    this.#beginning.set(digest, { size: wanted.size, outcome })
    return outcome
  }

  #underWay(): number {
    return this.#beginning.size + [...this.#begun].filter((download) => download.isFetchingFromOrigin).length
  }

  async #fetch(digest: string, wanted: Wanted): Promise<WishOutcome> {
    const { registry, repository } = wanted
    try {
      const size = await this.#blobSize(digest, { registry, repository }, this.#signal)
      const download = await this.#begin(digest, size, wanted)
      this.#log.info({ digest, registry, repository }, 'fetching from the origin on behalf of other nodes')
      this.#begun.add(download)
      void download.ended.then((end) => {
        this.#begun.delete(download)
        // Why it failed is logged with the download.
        if (end !== 'complete') this.#giveUp(digest, end.cause)
      })
      return download.fetchForOthers({ registry, repository }, wanted.firstPiece)
    } catch (error) {
      const fields = { digest, registry, repository, err: error }
      if (!this.#signal.aborted) this.#log.warn(fields, 'a blob can not be fetched on behalf of other nodes')
      return this.#giveUp(digest, error)
    } finally {
      this.#beginning.delete(digest)
    }
  }

  #giveUp(digest: string, error: unknown): WishOutcome {
    const outcome = wishOutcomeOf(error)
    this.#gaveUp.delete(digest)
    this.#gaveUp.set(digest, { outcome, untilMs: this.#now() + REFUSE_MS })
    const [oldest] = this.#gaveUp.keys()
    if (this.#gaveUp.size > MAX_REFUSED && oldest !== undefined) this.#gaveUp.delete(oldest)
    return outcome
  }
}

/** What a failure of the origin means for those on whose behalf it was asked. */
export function wishOutcomeOf(error: unknown): WishOutcome {
  return leaseFailureReason(error) === LeaseFailed_Reason.UNAUTHORIZED ? 'refused' : 'failed'
}
