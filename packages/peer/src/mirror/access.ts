import { createHash } from 'node:crypto'
import type { Upstream } from './upstream.ts'

const MAX_GRANTS = 50_000
const MAX_CONTENTS = 200_000

/**
 * Who may read what is cached. The cache is by digest and shared, so two things must hold: the origin let the same
 * credentials read the repository a short while ago, and the content is known to be in that repository. Credentials
 * are kept only as a hash, and all of it only in memory.
 */
export class Access {
  readonly #ttlMs: number
  readonly #now: () => number
  /** Repository and credentials → when the origin last said yes; the oldest first. */
  readonly #grants = new Map<string, number>()
  /** Repository and digest → bytes, where the origin said; the oldest first. */
  readonly #contents = new Map<string, number | undefined>()

  /** @param ttlMs how long the origin's yes holds */
  constructor(options: { ttlMs: number }, dependencies: { now: () => number }) {
    this.#ttlMs = options.ttlMs
    this.#now = dependencies.now
  }

  /** The origin let these credentials read the repository. */
  grant(upstream: Upstream, authorization: string | undefined): void {
    const key = grantKey(upstream, authorization)
    this.#grants.delete(key)
    this.#grants.set(key, this.#now())
    const [oldest] = this.#grants.keys()
    if (this.#grants.size > MAX_GRANTS && oldest !== undefined) this.#grants.delete(oldest)
  }

  /** The origin has this content in the repository, of `size` bytes if it said so. */
  addContent(upstream: Upstream, digest: string, size?: number): void {
    const key = contentKey(upstream, digest)
    const known = this.#contents.get(key)
    this.#contents.delete(key)
    this.#contents.set(key, size ?? known)
    const [oldest] = this.#contents.keys()
    if (this.#contents.size > MAX_CONTENTS && oldest !== undefined) this.#contents.delete(oldest)
  }

  /** Whether the origin's yes to the repository still holds. */
  isGranted(upstream: Upstream, authorization: string | undefined): boolean {
    const grantedMs = this.#grants.get(grantKey(upstream, authorization))
    return grantedMs !== undefined && this.#now() - grantedMs < this.#ttlMs
  }

  /** Whether the origin ever said yes to the repository: enough while the origin can not be asked. */
  wasGranted(upstream: Upstream, authorization: string | undefined): boolean {
    return this.#grants.has(grantKey(upstream, authorization))
  }

  /** Whether the content is known to be in the repository. */
  isContent(upstream: Upstream, digest: string): boolean {
    return this.#contents.has(contentKey(upstream, digest))
  }

  /** Bytes of the content in the repository, as the origin said; undefined when it was not asked. */
  sizeOf(upstream: Upstream, digest: string): number | undefined {
    return this.#contents.get(contentKey(upstream, digest))
  }
}

function grantKey({ registry, repository }: Upstream, authorization: string | undefined): string {
  return createHash('sha256')
    .update(JSON.stringify([registry, repository, authorization ?? null]))
    .digest('base64')
}

function contentKey({ registry, repository }: Upstream, digest: string): string {
  return `${registry}/${repository}@${digest}`
}
