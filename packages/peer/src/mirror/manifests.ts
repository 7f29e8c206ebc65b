import { type Logger, mediaTypeOfManifest, tryParseDigest } from '@shoal/core'
import type { OriginClient } from '@shoal/origin'
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
    const digest = await this.#resolveTag(request)
    const kept = digest === undefined ? undefined : await this.#kept(request, digest)
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

  /** What the tag means; undefined when the origin does not say without the manifest itself. */
  async #resolveTag(request: ManifestRequest): Promise<string | undefined> {
    const { upstream, reference } = request
    const reader = readerOf(request)
    const recent = this.#tags.recent(request)
    if (recent !== undefined && this.#rights.isGranted(reader)) return recent
    try {
      const { digest } = await this.#origin.headManifest(callOf(request))
      this.#rights.granted(reader)
      if (digest !== undefined) this.#tags.saw(request, digest)
      return digest
    } catch (error) {
      this.#rights.failed(reader, error)
      const last = this.#rights.standsIn(reader, error) ? this.#tags.last(request) : undefined
      if (last === undefined) throw error
      this.#log.warn({ ...upstream, tag: reference, digest: last }, 'origin away; serving the last known tag')
      return last
    }
  }

  async #fetch(request: ManifestRequest): Promise<ServedManifest> {
    const { upstream } = request
    const reader = readerOf(request)
    const reply = await this.#origin.getManifest(callOf(request)).catch((error: unknown) => {
      const { reference } = request
      this.#rights.failed(reader, error, tryParseDigest(reference) === undefined ? undefined : reference)
      throw error
    })
    if (reply.status === 304) throw new Error('the origin answered 304 to an unconditional request')
    const { bytes, digest } = reply
    const mediaType = reply.mediaType ?? mediaTypeOfManifest(bytes)
    this.#rights.granted(reader)
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
      await this.#origin.headManifest(callOf(request))
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
