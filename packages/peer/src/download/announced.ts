import type { Logger } from '@shoal/core'
import type { Download } from './download.ts'
import type { BlobRequest } from './downloads.ts'

/**
 * Blobs that are fetched ahead of clients at once: enough for the layers of the images that a node pulls at a time. With
 * images of many small layers every further one would cost the scheduler time with each piece of the others, and
 * clients ask for most of them before their turn anyway.
 */
const MOST_UNDER_WAY = 32
/** Further ones are not fetched ahead. */
const MOST_WAITING = 100_000

/** Blobs that manifests announced: fetched before a client asks for them, a few at once, in order. */
export class Announced {
  readonly #want: (request: BlobRequest) => Promise<Download>
  readonly #isNeeded: (digest: string) => boolean
  readonly #log: Logger
  readonly #signal: AbortSignal
  readonly #waiting = new Map<string, BlobRequest>()
  #underWay = 0

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
      if (this.#waiting.size < MOST_WAITING) this.#waiting.set(request.digest, request)
    }
    this.#pump()
  }

  #pump(): void {
    for (const [digest, request] of this.#waiting) {
      if (this.#underWay >= MOST_UNDER_WAY || this.#signal.aborted) return
      this.#waiting.delete(digest)
      if (!this.#isNeeded(digest)) continue
      this.#underWay++
      void this.#fetch(request).finally(() => {
        this.#underWay--
        this.#pump()
      })
    }
  }

  async #fetch(request: BlobRequest): Promise<void> {
    try {
      const download = await this.#want(request)
      // How it ended is logged with the download.
      await download.ended
    } catch (error) {
      this.#log.warn({ digest: request.digest, err: error }, 'an announced blob can not be fetched ahead')
    }
  }
}
