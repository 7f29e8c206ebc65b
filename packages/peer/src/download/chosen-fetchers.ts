/** Who was chosen and has not asked for this long is taken to be gone. A node that waits asks about once a second. */
const GONE_MS = 3000
const MAX_CHOSEN = 1000

/** A node that is to fetch a blob of `size` bytes. */
interface ChosenFetcher {
  readonly peerId: string
  readonly size: number
}

/**
 * Whom this node has chosen to fetch blobs from their origin on behalf of all, because its own credentials do not
 * suffice: the first of those that ask for the blob, whose client has sent some. Times in milliseconds of one clock.
 */
export class ChosenFetchers {
  readonly #byDigest = new Map<string, { readonly fetcher: ChosenFetcher; readonly seenMs: number }>()

  /** `asker` wants the blob, and this node can not fetch it: chooses the asker, unless another one is at it. */
  choose(digest: string, asker: ChosenFetcher, nowMs: number): void {
    const chosen = this.of(digest, nowMs)
    if (chosen !== undefined && chosen.peerId !== asker.peerId) return
    this.#byDigest.delete(digest)
    this.#byDigest.set(digest, { fetcher: asker, seenMs: nowMs })
    const [oldest] = this.#byDigest.keys()
    if (this.#byDigest.size > MAX_CHOSEN && oldest !== undefined) this.#byDigest.delete(oldest)
  }

  /** Who is to fetch the blob; undefined: nobody was chosen, or who was is gone. */
  of(digest: string, nowMs: number): ChosenFetcher | undefined {
    const chosen = this.#byDigest.get(digest)
    return chosen === undefined || nowMs - chosen.seenMs > GONE_MS ? undefined : chosen.fetcher
  }
}
