import { type Logger, parseManifest, tryParseDigest } from '@shoal/core'
import { isOriginAway, type OriginClient } from '@shoal/origin'
import type { Access } from './access.ts'
import type { Upstream } from './upstream.ts'

/** A manifest as its origin served it. */
export interface CachedManifest {
  readonly digest: string
  readonly mediaType: string
  readonly bytes: Uint8Array
}

/** Where manifests are kept. */
export interface ManifestCache {
  get(digest: string): Promise<CachedManifest | undefined>
  put(manifest: CachedManifest): Promise<void>
  tag(tag: string): Promise<string | undefined>
  putTag(tag: string, digest: string): Promise<void>
}

/** One client's wish. */
export interface ManifestRequest {
  readonly upstream: Upstream
  /** Tag or digest. */
  readonly reference: string
  readonly accept: string | undefined
  readonly authorization: string | undefined
  readonly signal: AbortSignal
}

const MAX_RECENT_TAGS = 10_000

/**
 * Manifests through the cache. The bytes of a digest are fetched once; what a tag means is asked of the origin each
 * time but for a short while; and each client's right to read is the origin's to say (access.ts). While the origin is
 * away, what it last said stands.
 */
export class Manifests {
  readonly #tagTtlMs: number
  readonly #origin: OriginClient
  readonly #cache: ManifestCache
  readonly #access: Access
  readonly #log: Logger
  readonly #now: () => number
  readonly #recentTags = new Map<string, { digest: string; atMs: number }>()

  constructor(
    options: { tagTtlMs: number },
    dependencies: {
      origin: OriginClient
      cache: ManifestCache
      access: Access
      log: Logger
      now: () => number
    },
  ) {
    this.#tagTtlMs = options.tagTtlMs
    this.#origin = dependencies.origin
    this.#cache = dependencies.cache
    this.#access = dependencies.access
    this.#log = dependencies.log
    this.#now = dependencies.now
  }

  /** The manifest. Throws OriginError. */
  async get(request: ManifestRequest): Promise<CachedManifest> {
    const { upstream, authorization, reference } = request
    if (tryParseDigest(reference) === undefined) return this.#getByTag(request)
    const cached = await this.#cache.get(reference)
    if (cached === undefined) return this.#fetch(request, reference)
    const mayRead = this.#access.isGranted(upstream, authorization) && this.#access.isContent(upstream, reference)
    if (!mayRead) await this.#askAccess(request)
    return cached
  }

  async #getByTag(request: ManifestRequest): Promise<CachedManifest> {
    const digest = await this.#resolveTag(request)
    const cached = digest === undefined ? undefined : await this.#cache.get(digest)
    if (cached !== undefined) return cached
    const manifest = await this.#fetch(request, request.reference)
    await this.#rememberTag(request, manifest.digest)
    return manifest
  }

  /** What the tag means; undefined when the origin does not say without the manifest itself. */
  async #resolveTag(request: ManifestRequest): Promise<string | undefined> {
    const { upstream, authorization } = request
    const recent = this.#recentTags.get(tagKey(request))
    const isFresh = recent !== undefined && this.#now() - recent.atMs < this.#tagTtlMs
    if (isFresh && this.#access.isGranted(upstream, authorization)) return recent.digest
    try {
      const { digest } = await this.#origin.headManifest(callOf(request, request.reference))
      this.#access.grant(upstream, authorization)
      if (digest === undefined) return undefined
      this.#access.addContent(upstream, digest)
      await this.#rememberTag(request, digest)
      return digest
    } catch (error) {
      const known = await this.#cache.tag(tagKey(request))
      if (known === undefined || !this.#mayReadWithoutOrigin(request, error)) throw error
      this.#log.warn({ ...upstream, tag: request.reference, digest: known }, 'origin away; serving the last known tag')
      return known
    }
  }

  async #rememberTag(request: ManifestRequest, digest: string): Promise<void> {
    const key = tagKey(request)
    this.#recentTags.delete(key)
    this.#recentTags.set(key, { digest, atMs: this.#now() })
    const [oldest] = this.#recentTags.keys()
    if (this.#recentTags.size > MAX_RECENT_TAGS && oldest !== undefined) this.#recentTags.delete(oldest)
    await this.#cache.putTag(key, digest)
  }

  async #fetch(request: ManifestRequest, reference: string): Promise<CachedManifest> {
    const reply = await this.#origin.getManifest(callOf(request, reference))
    if (reply.status === 304) throw new Error('the origin answered 304 to an unconditional request')
    this.#access.grant(request.upstream, request.authorization)
    this.#access.addContent(request.upstream, reply.digest)
    const mediaType = reply.mediaType ?? parseManifest(reply.bytes).mediaType
    const manifest = { digest: reply.digest, mediaType, bytes: reply.bytes }
    await this.#cache.put(manifest)
    return manifest
  }

  async #askAccess(request: ManifestRequest): Promise<void> {
    const { upstream, authorization, reference } = request
    try {
      await this.#origin.headManifest(callOf(request, reference))
      this.#access.grant(upstream, authorization)
      this.#access.addContent(upstream, reference)
    } catch (error) {
      if (!this.#mayReadWithoutOrigin(request, error) || !this.#access.isContent(upstream, reference)) throw error
    }
  }

  #mayReadWithoutOrigin({ upstream, authorization }: ManifestRequest, error: unknown): boolean {
    return isOriginAway(error) && this.#access.wasGranted(upstream, authorization)
  }
}

function callOf({ upstream, accept, authorization, signal }: ManifestRequest, reference: string) {
  return { ...upstream, reference, accept, authorization, signal }
}

/** An origin may answer a tag differently by `Accept` (an index, or one platform's manifest). */
function tagKey({ upstream, reference, accept }: ManifestRequest): string {
  return JSON.stringify([upstream.registry, upstream.repository, reference, accept ?? ''])
}
