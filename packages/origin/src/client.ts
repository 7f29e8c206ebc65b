import type { lookup } from 'node:dns'
import {
  CoreError,
  isRepositoryName,
  type Logger,
  MANIFEST_ACCEPT,
  MAX_MANIFEST_BYTES,
  parseDigest,
  type SharedBucket,
  tryParseManifestReference,
} from '@shoal/core'
import { Authorizer } from './authorizer.ts'
import { type FetchedBlob, fetchBlobRange } from './blob.ts'
import { blobSize } from './blob-size.ts'
import { BoundedBody, mediaTypeOf, refusePage } from './body.ts'
import { Endpoints } from './endpoint.ts'
import { OriginError, outcomeOf, type Subject, statusError } from './errors.ts'
import { headerOf } from './follow.ts'
import { isDoubtful } from './head-doubt.ts'
import { KnownRedirects } from './known-redirects.ts'
import { nextQuery, withoutNs } from './list.ts'
import { headOf, type ManifestHead, type ManifestReply, manifestHead, manifestReply } from './manifest.ts'
import type { ChunkTaker } from './range-receiver.ts'
import { RateHolds, rateHoldMemory } from './rate-holds.ts'
import { type OriginRequest, Requester } from './requester.ts'
import { REAL_RETRY, type RetryDependencies } from './retry.ts'
import type { OriginMetrics, OriginOperation } from './service/metrics.ts'
import type { OriginClientOptions } from './service/options.ts'
import { Tokens } from './tokens.ts'
import { Transport } from './transport.ts'

export type { FoundManifest } from './manifest.ts'
export { rateHoldMemory } from './rate-holds.ts'

/** What every call names. */
export interface OriginCall {
  /** `host[:port]` as a mirror's `ns` has it, e.g. `docker.io`. */
  readonly registry: string
  readonly repository: string
  /** The client's `Authorization` header, sent as it is; without it the configured account is used, if any. */
  readonly authorization?: string | undefined
  readonly signal: AbortSignal
  /**
   * All the waiting between tries, in milliseconds; default 4 s. 0 for who has something that may stand in: an origin
   * that limits our rate, or is away (`isOriginAway`), is then told at once.
   */
  readonly maxWaitMs?: number | undefined
}

export interface ManifestCall extends OriginCall {
  /** Tag or digest. */
  readonly reference: string
  /** `Accept` header; default: all manifest types we know. */
  readonly accept?: string | undefined
  /** An entity tag; the reply is 304 while the manifest has it. */
  readonly ifNoneMatch?: string | undefined
}

export interface BlobCall extends OriginCall {
  readonly digest: string
}

/** Bytes `start` to `end`, both inclusive, of a blob of `size` bytes. */
export interface BlobRangeCall extends BlobCall {
  readonly start: number
  readonly end: number
  readonly size: number
}

/** A page of a list. */
interface PageCall {
  /** What is asked of the list, such as `n=100&last=x`, or `next` of the page before: sent as it is, without `ns`. */
  readonly query?: string
}

export interface ReferrersCall extends BlobCall, PageCall {}

export interface TagsCall extends OriginCall, PageCall {}

/** A list as the origin gave it. */
export interface ListReply {
  /** JSON, at most 4 MiB, not looked into. */
  readonly bytes: Buffer
  readonly mediaType?: string
  /** The query that asks for the next page; undefined: this is the last one. */
  readonly next?: string
  /** `OCI-Filters-Applied` header, verbatim. */
  readonly filtersApplied?: string
}

/** What a client works with; all but the log have defaults. */
export interface OriginClientDependencies {
  readonly log: Logger
  readonly metrics?: OriginMetrics
  readonly retry?: RetryDependencies
  /** Milliseconds since the epoch. */
  readonly now?: () => number
  readonly lookup?: typeof lookup
  /** The node's limit on what comes from origins; left out: none. */
  readonly limit?: SharedBucket
}

const LIST_ACCEPT = 'application/json, */*'
/** What registries without that list answer besides 404. */
const NO_REFERRERS: ReadonlySet<number> = new Set([400, 405, 501])
const OK: ReadonlySet<number> = new Set([200])
const OK_OR_UNCHANGED: ReadonlySet<number> = new Set([200, 304])

/**
 * A client for any OCI registry: credentials and tokens, redirects, ranges, retries, resume. It may be made in any
 * thread; its options are plain data. All calls throw OriginError, or CoreError for names and digests that are none.
 */
export class OriginClient {
  readonly #endpoints: Endpoints
  readonly #transport: Transport
  readonly #tokens: Tokens
  readonly #requester: Requester
  readonly #metrics: OriginMetrics | undefined
  readonly #totalTimeoutMs: number

  /** Throws CoreError `CONFIG_INVALID` for origins that make no sense. */
  constructor(options: OriginClientOptions, dependencies: OriginClientDependencies) {
    const { log, metrics, lookup, limit, retry = REAL_RETRY, now = Date.now } = dependencies
    this.#endpoints = new Endpoints(options)
    this.#metrics = metrics
    this.#totalTimeoutMs = options.limits.totalTimeoutMs
    this.#transport = new Transport(options.limits, {
      ...(lookup === undefined ? {} : { lookup }),
      ...(metrics === undefined ? {} : { onBytes: metrics.onBytes }),
      ...(limit === undefined ? {} : { limit }),
      ...(options.proxies === undefined ? {} : { proxies: options.proxies }),
    })
    this.#tokens = new Tokens(this.#transport, options.limits, now)
    this.#requester = new Requester({
      transport: this.#transport,
      authorizer: new Authorizer(this.#tokens, log),
      redirects: new KnownRedirects(now),
      endpointAt: (url, from) => this.#endpoints.at(url, from),
      holds: new RateHolds(options.holds ?? rateHoldMemory(), now),
      log,
      retry,
      now,
    })
  }

  /**
   * Whether the caller may have a manifest, and what the origin says of it: by HEAD, or by GET where the answer to that
   * leaves a doubt.
   */
  headManifest(call: ManifestCall): Promise<ManifestHead> {
    return this.#measured('manifest_head', async () => {
      const { request, subject } = this.#manifestRequest(call, 'HEAD')
      try {
        const head = manifestHead(await this.#requester.perform(request, new BoundedBody(subject, 0)), call.reference)
        if (head !== undefined) return head
      } catch (error) {
        if (!isDoubtful(error)) throw error
      }
      return headOf(await this.#getManifest(call))
    })
  }

  /** A manifest, checked against its digest. */
  getManifest(call: ManifestCall): Promise<ManifestReply> {
    return this.#measured('manifest', () => this.#getManifest(call))
  }

  /** A blob's size in bytes; also the proof that the caller may have the blob. Asked as headManifest does. */
  headBlob(call: BlobCall): Promise<{ size: number }> {
    return this.#measured('blob_head', async () => {
      parseDigest(call.digest)
      const request = this.#small(call, 'HEAD', `blobs/${call.digest}`)
      return { size: await blobSize(this.#requester, request, call.digest) }
    })
  }

  /**
   * Streams bytes `start` to `end` of a blob, in order and each once; whole only if the promise resolves. Where all
   * connections to the host are in use it waits for one, as long as its signal lets it.
   * @param onChunk what it throws, or rejects with, ends the request and is thrown here
   */
  fetchBlob(call: BlobRangeCall, onChunk: ChunkTaker): Promise<FetchedBlob> {
    return this.#measured('blob', () => {
      const { digest, start, end, size } = call
      parseDigest(digest)
      if (![start, end, size].every(Number.isSafeInteger) || start < 0 || end < start || end >= size) {
        throw new RangeError(`bytes ${start}-${end} are no part of ${size} bytes`)
      }
      const request = this.#request(call, 'GET', `blobs/${digest}`)
      const { registry, repository } = request.subject
      const redirectKey = `${registry}/${repository}@${digest}`
      return fetchBlobRange(this.#requester, { ...request, redirectKey }, { start, end, size }, onChunk)
    })
  }

  /** The index of what refers to a digest. Source: OCI distribution-spec 1.1, "Listing Referrers". */
  getReferrers(call: ReferrersCall): Promise<ListReply> {
    return this.#measured('referrers', () => {
      parseDigest(call.digest)
      return this.#list(call, `referrers/${call.digest}`).catch((error: unknown) => {
        // Clients then look for the tag that stands in for the list. Source: distribution-spec 1.1, "Referrers Tag Schema".
        if (!(error instanceof OriginError) || !NO_REFERRERS.has(error.data.status ?? 0)) throw error
        throw statusError({ registry: call.registry, repository: call.repository }, 404)
      })
    })
  }

  /** A page of a repository's tags. Source: OCI distribution-spec 1.1, "Listing Tags". */
  listTags(call: TagsCall): Promise<ListReply> {
    return this.#measured('tags', () => this.#list(call, 'tags/list'))
  }

  /** Breaks off what is under way, with `ABORTED`, and closes all connections. */
  async close(): Promise<void> {
    this.#tokens.close()
    await this.#transport.close()
  }

  async #getManifest(call: ManifestCall): Promise<ManifestReply> {
    const { request, subject } = this.#manifestRequest(call, 'GET')
    const body = new BoundedBody(subject, MAX_MANIFEST_BYTES)
    const head = await this.#requester.perform(request, body)
    return manifestReply(head, body.bytes(), call.reference, subject)
  }

  #manifestRequest(call: ManifestCall, method: 'GET' | 'HEAD') {
    if (tryParseManifestReference(call.reference) === undefined) {
      throw new CoreError('REFERENCE_INVALID', `"${call.reference.slice(0, 160)}" is neither a tag nor a digest`)
    }
    const headers: Record<string, string> = { accept: call.accept ?? MANIFEST_ACCEPT }
    if (call.ifNoneMatch !== undefined) headers['if-none-match'] = call.ifNoneMatch
    const request = this.#small(call, method, `manifests/${call.reference}`, headers)
    return { request: { ...request, accepts: OK_OR_UNCHANGED }, subject: request.subject }
  }

  async #list(call: OriginCall & PageCall, path: string): Promise<ListReply> {
    const query = withoutNs(call.query ?? '')
    const request = this.#small(call, 'GET', query === '' ? path : `${path}?${query}`, { accept: LIST_ACCEPT })
    const body = new BoundedBody(request.subject, MAX_MANIFEST_BYTES)
    const head = await this.#requester.perform(request, body)
    refusePage(head, body.bytes(), request.subject)
    const next = nextQuery(head, request.endpoint.base)
    const filtersApplied = headerOf(head, 'oci-filters-applied')
    return {
      bytes: body.bytes(),
      ...mediaTypeOf(head),
      ...(next === undefined ? {} : { next }),
      ...(filtersApplied === undefined ? {} : { filtersApplied }),
    }
  }

  /** A request whose whole answer is small, and so has a deadline. */
  #small(call: OriginCall, method: 'GET' | 'HEAD', path: string, headers: Record<string, string> = {}) {
    return { ...this.#request(call, method, path), headers, totalTimeoutMs: this.#totalTimeoutMs }
  }

  #request(call: OriginCall, method: 'GET' | 'HEAD', path: string): OriginRequest {
    const { repository, authorization, signal, maxWaitMs } = call
    if (!isRepositoryName(repository)) {
      throw new CoreError('NAME_INVALID', `"${repository.slice(0, 255)}" is not a repository name`)
    }
    const endpoint = this.#endpoints.resolve(call.registry)
    const subject: Subject = { registry: endpoint.registry, repository }
    const { namespace } = endpoint
    const ns =
      namespace === undefined ? '' : `${path.includes('?') ? '&' : '?'}${new URLSearchParams({ ns: namespace })}`
    const url = `/v2/${repository}/${path}${ns}`
    return { endpoint, subject, method, path: url, headers: {}, authorization, accepts: OK, signal, maxWaitMs }
  }

  async #measured<T>(operation: OriginOperation, call: () => Promise<T>): Promise<T> {
    const startedMs = performance.now()
    let outcome = 'ok'
    try {
      return await call()
    } catch (error) {
      outcome = outcomeOf(error)
      throw error
    } finally {
      this.#metrics?.onRequest(operation, outcome, (performance.now() - startedMs) / 1000)
    }
  }
}
