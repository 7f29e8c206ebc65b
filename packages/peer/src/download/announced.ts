import type { Logger } from '@shoal/core'
import type { Download } from './download.ts'
import type { BlobRequest } from './downloads.ts'

/**
 * Blobs that are fetched ahead of clients at once: enough for the layers of the images that a node pulls at a time. With
 * images of many small layers every further one would cost the scheduler time with each piece of the others, and
 * clients ask for most of them before their turn anyway.
 */
const MOST_UNDER_WAY = 32
/** Of one registry: others get on however slowly it answers. */
const MOST_OF_ONE_REGISTRY = 24
/** Further ones are not fetched ahead: a manifest may name any number of blobs, and none of them need exist. */
const MOST_WAITING_OF_ONE_REPOSITORY = 1000
const MOST_WAITING = 10_000

/** Blobs of one repository that wait, by digest, in order. */
type Waiting = Map<string, BlobRequest>

/**
 * Blobs that manifests announced: fetched before a client asks for them, a few at once; of each repository in order, of
 * the repositories in turn.
 */
export class Announced {
  readonly #want: (request: BlobRequest) => Promise<Download>
  readonly #isNeeded: (digest: string) => boolean
  readonly #log: Logger
  readonly #signal: AbortSignal
  /** By repository, the one whose turn is next first. */
  readonly #waiting = new Map<string, Waiting>()
  #waitingCount = 0
  /** By registry. */
  readonly #underWay = new Map<string, number>()
  #underWayCount = 0

  constructor(dependencies: {
    /** The download of the blob, begun if there is none. */
    want: (request: BlobRequest) => Promise<Download>
    /** Whether a blob is neither here nor on its way. */
    isNeeded: (digest: string) => boolean
    log: Logger
    signal: AbortSignal
  }) {
    this.#want = dependencies.want
    this.#isNeeded = dependencies.isNeeded
    this.#log = dependencies.log
    this.#signal = dependencies.signal
  }

  /** Has the blobs fetched in their turn, those that are needed still; their failures are only logged. */
  add(requests: readonly BlobRequest[]): void {
    for (const request of requests) {
      const { registry, repository } = request.source
      const key = `${registry}/${repository}`
      const waiting: Waiting = this.#waiting.get(key) ?? new Map()
      const isFull = this.#waitingCount >= MOST_WAITING || waiting.size >= MOST_WAITING_OF_ONE_REPOSITORY
      if (waiting.has(request.digest) || isFull) continue
      waiting.set(request.digest, request)
      this.#waiting.set(key, waiting)
      this.#waitingCount++
    }
    this.#pump()
  }

  #pump(): void {
    while (this.#underWayCount < MOST_UNDER_WAY && !this.#signal.aborted) {
      const request = this.#next()
      if (request === undefined) return
      if (!this.#isNeeded(request.digest)) continue
      this.#count(request, 1)
      void this.#fetch(request).finally(() => {
        this.#count(request, -1)
        this.#pump()
      })
    }
  }

  /** Takes the next blob of the repository whose turn it is, which goes to the end of the row. */
  #next(): BlobRequest | undefined {
    for (const [key, waiting] of this.#waiting) {
      const [request] = waiting.values()
      if (request === undefined) continue
      if ((this.#underWay.get(request.source.registry) ?? 0) >= MOST_OF_ONE_REGISTRY) continue
      waiting.delete(request.digest)
      this.#waitingCount--
      this.#waiting.delete(key)
      if (waiting.size > 0) this.#waiting.set(key, waiting)
      return request
    }
    return undefined
  }

  #count({ source: { registry } }: BlobRequest, change: 1 | -1): void {
    this.#underWayCount += change
    const count = (this.#underWay.get(registry) ?? 0) + change
    if (count === 0) this.#underWay.delete(registry)
    else this.#underWay.set(registry, count)
  }

  async #fetch(request: BlobRequest): Promise<void> {
    try {
      const download = await this.#want(request)
      // How it ended is logged with the download.
      await download.ended
    } catch (error) {
      this.#log.info({ digest: request.digest, err: error }, 'an announced blob cannot be fetched ahead')
    }
  }
}
