import { LruMap } from './lru.ts'

const MAX_KNOWN = 256
/** Presigned URLs live for minutes at least; access is checked with the origin again after this. */
const USE_FOR_MS = 60_000

/**
 * Where blobs were redirected to lately, so that the ranges of one blob do not each ask the origin. Keys name the
 * credentials too: a presigned URL is for the one who was given it.
 */
export class KnownRedirects {
  readonly #now: () => number
  readonly #known = new LruMap<{ readonly url: URL; readonly useUntil: number }>(MAX_KNOWN)

  constructor(now: () => number) {
    this.#now = now
  }

  get(key: string): URL | undefined {
    const entry = this.#known.get(key)
    return entry !== undefined && this.#now() < entry.useUntil ? entry.url : undefined
  }

  set(key: string, url: URL): void {
    this.#known.set(key, { url, useUntil: this.#now() + USE_FOR_MS })
  }

  delete(key: string): void {
    this.#known.delete(key)
  }
}
