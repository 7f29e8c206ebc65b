import { type Logger, mediaTypeOfManifest, tryParseDigest } from '@shoal/core'
import type { FoundManifest, OriginClient } from '@shoal/origin'
import type { OriginReader, Rights } from '../rights/rights.ts'
import type { Tags } from './tags.ts'
import type { Upstream } from './upstream.ts'

/** A manifest as its origin served it. */
export interface ServedManifest {
  readonly digest: string
  readonly mediaType: string
  readonly bytes: Uint8Array
}

/** Where the bytes of manifests are kept. It is a cache: what it cannot keep, or read, it does not have. */
export interface ManifestCache {
  /** Bytes that have the digest. */
  get(digest: string): Promise<Uint8Array | undefined>
  put(digest: string, bytes: Uint8Array): Promise<void>
}

/** Whoever may be served without an answer does not wait for an origin that limits our rate. */
const NO_WAIT = { maxWaitMs: 0 }

/** One client's wish. */
export interface ManifestRequest {
  readonly upstream: Upstream
  /** Tag or digest. */
  readonly reference: string
  readonly accept: string | undefined
  readonly authorization: string | undefined
  readonly signal: AbortSignal
}

/**
 * Manifests through the cache. The bytes of a digest are fetched once from each repository that clients name, for only
 * the registry that sent them is known to have them, and only it says what type they are. What a tag means is asked of
 * the origin each time but for a short while; and each client's right to read is the origin's to say (rights.ts). While
 * the origin is away, what it last said stands.
 */
export class Manifests {
  readonly #origin: OriginClient
  readonly #cache: ManifestCache
  readonly #tags: Tags
  readonly #rights: Rights
  readonly #log: Logger

  constructor(dependencies: {
    origin: OriginClient
    cache: ManifestCache
    tags: Tags
    rights: Rights
    log: Logger
  }) {
    this.#origin = dependencies.origin
    this.#cache = dependencies.cache
    this.#tags = dependencies.tags
    this.#rights = dependencies.rights
    this.#log = dependencies.log
  }

  /** The manifest. Throws OriginError. */
  async get(request: ManifestRequest): Promise<ServedManifest> {
    const { reference } = request
    if (tryParseDigest(reference) === undefined) return this.#getByTag(request)
    const kept = await this.#kept(request, reference)
    if (kept === undefined) return this.#fetch(request)
    await this.#checkRights(request, kept)
    return kept
  }

  async #getByTag(request: ManifestRequest): Promise<ServedManifest> {
    const meant = await this.#resolveTag(request)
    if (typeof meant === 'object') return meant
    const kept = meant === undefined ? undefined : await this.#kept(request, meant)
    if (kept !== undefined) return kept
    const manifest = await this.#fetch(request)
    this.#tags.saw(request, manifest.digest)
    return manifest
  }

  /** What the repository's own registry sent before, if it is kept. */
  async #kept({ upstream }: ManifestRequest, digest: string): Promise<ServedManifest | undefined> {
    const mediaType = this.#rights.contents.find(upstream, digest)?.mediaType
    const bytes = mediaType === undefined ? undefined : await this.#cache.get(digest)
    return mediaType === undefined || bytes === undefined ? undefined : { digest, mediaType, bytes }
  }

  /**
   * What the tag means: a digest, or the manifest itself where the origin told only with that; undefined when it did not
   * tell at all.
   */
  async #resolveTag(request: ManifestRequest): Promise<string | ServedManifest | undefined> {
    const { upstream, reference } = request
    const reader = readerOf(request)
    const recent = this.#tags.recent(request)
    if (recent !== undefined && this.#rights.isGranted(reader)) return recent
    const last = this.#rights.mayStandIn(reader) ? this.#tags.last(request) : undefined
    try {
      const head = await this.#origin.headManifest({ ...callOf(request), ...(last === undefined ? {} : NO_WAIT) })
      this.#rights.granted(reader)
      if (head.digest !== undefined) this.#tags.saw(request, head.digest)
      return head.manifest === undefined ? head.digest : await this.#keep(request, head.manifest)
    } catch (error) {
      this.#rights.failed(reader, error)
      if (last === undefined || !this.#rights.standsIn(reader, error)) throw error
      this.#log.warn({ ...upstream, tag: reference, digest: last }, 'origin away; serving the last known tag')
      return last
    }
  }

  async #fetch(request: ManifestRequest): Promise<ServedManifest> {
    const reader = readerOf(request)
    const reply = await this.#origin.getManifest(callOf(request)).catch((error: unknown) => {
      const { reference } = request
      this.#rights.failed(reader, error, tryParseDigest(reference) === undefined ? undefined : reference)
      throw error
    })
    if (reply.status === 304) throw new Error('the origin answered 304 to an unconditional request')
    this.#rights.granted(reader)
    return this.#keep(request, reply)
  }

  async #keep({ upstream }: ManifestRequest, found: FoundManifest): Promise<ServedManifest> {
    const { bytes, digest, mediaType = mediaTypeOfManifest(bytes) } = found
    this.#rights.contents.sawManifest(upstream, digest, { size: bytes.byteLength, mediaType })
    await this.#cache.put(digest, bytes)
    return { digest, mediaType, bytes }
  }

  /** Asks the origin whether the client may have what is kept, unless it said so a short while ago. */
  async #checkRights(request: ManifestRequest, { digest, mediaType, bytes }: ServedManifest): Promise<void> {
    const { contents } = this.#rights
    const reader = readerOf(request)
    const known = contents.find(reader, digest)
    if (known !== undefined && contents.isFresh(known) && this.#rights.isGranted(reader)) return
    try {
      await this.#origin.headManifest({ ...callOf(request), ...(this.#rights.mayStandIn(reader) ? NO_WAIT : {}) })
      this.#rights.granted(reader)
      contents.sawManifest(reader, digest, { size: bytes.byteLength, mediaType })
    } catch (error) {
      this.#rights.failed(reader, error, digest)
      if (!this.#rights.standsIn(reader, error)) throw error
    }
  }
}

function readerOf({ upstream, authorization }: ManifestRequest): OriginReader {
  return { ...upstream, authorization }
}

function callOf({ upstream, reference, accept, authorization, signal }: ManifestRequest) {
  return { ...upstream, reference, accept, authorization, signal }
}
