import type { Logger } from '@shoal/core'
import type { Wanted } from '../swarm/holders.ts'
import type { OriginBlobs } from './dependencies.ts'
import type { Download } from './download.ts'

/** Blobs that are fetched on behalf of others at once. */
const MAX_UNDER_WAY = 16
/** A blob that could not be fetched is not tried again for others before this. */
const REFUSE_MS = 30_000
const MAX_REFUSED = 1000

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
  /** Digest → bytes of the whole blob. */
  readonly #underWay = new Map<string, number>()
  /** Digest → until when it is not tried. */
  readonly #refused = new Map<string, number>()

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

  /** Bytes of the blob when it is being fetched for others. */
  sizeOf(digest: string): number | undefined {
    return this.#underWay.get(digest)
  }

  /** Begins to fetch a blob, unless that is under way, failed a short while ago, or would be too much. */
  begin(digest: string, wanted: Wanted): void {
    const isRefused = (this.#refused.get(digest) ?? Number.NEGATIVE_INFINITY) > this.#now()
    if (isRefused || this.#underWay.has(digest) || this.#underWay.size >= MAX_UNDER_WAY) return
    this.#underWay.set(digest, wanted.size)
    void this.#fetch(digest, wanted).finally(() => this.#underWay.delete(digest))
  }

  async #fetch(digest: string, wanted: Wanted): Promise<void> {
    const { registry, repository } = wanted
    try {
      const size = await this.#blobSize(digest, { registry, repository }, this.#signal)
      const download = await this.#begin(digest, size, wanted)
      this.#log.info({ digest, registry, repository }, 'fetching from the origin on behalf of other nodes')
      download.fetchForOthers({ registry, repository }, wanted.firstPiece)
      // Why it failed is logged with the download.
      if ((await download.ended) !== 'complete') this.#refuse(digest)
    } catch (error) {
      if (this.#signal.aborted) return
      this.#refuse(digest)
      this.#log.warn({ digest, registry, repository, err: error }, 'a blob can not be fetched on behalf of other nodes')
    }
  }

  #refuse(digest: string): void {
    this.#refused.delete(digest)
    this.#refused.set(digest, this.#now() + REFUSE_MS)
    const [oldest] = this.#refused.keys()
    if (this.#refused.size > MAX_REFUSED && oldest !== undefined) this.#refused.delete(oldest)
  }
}
