import { type Digest, formatDigest, type ManifestReference, parseDigest } from '@shoal/core'
import { type FoundManifest, isOriginAway, type OriginClient, type OriginError, originError } from '@shoal/origin'
import { RegistryError } from '../errors.ts'
import type { ManifestStore } from '../storage/manifests.ts'
import type { Turns } from '../storage/turns.ts'
import { isNotFound, upstreamError } from './failure.ts'
import type { ProxyMetrics } from './metrics.ts'
import { SingleFlight } from './single-flight.ts'
import type { UpstreamRepository, Upstreams } from './upstreams.ts'

interface ProxiedManifestsDependencies {
  readonly upstreams: Upstreams
  readonly client: OriginClient
  readonly manifests: ManifestStore
  readonly turns: Pick<Turns, 'take'>
  readonly mayKeep: () => boolean
  /** Told of manifests that clients ask for. */
  readonly used: (repository: string, digest: string) => void
  readonly metrics: ProxyMetrics
  readonly signal: AbortSignal
  /** Milliseconds of a clock that does not step back. */
  readonly now: () => number
}

/** Tags whose last confirmation is remembered. */
const MAX_CONFIRMED = 50_000
/** An upstream that could not be asked is not asked again for so long about what is here. */
const AWAY_MS = 10_000
const NO_CHANGES = 'the registry takes no changes at the moment'

/** What is known of a repository's reference when it has been looked at: undefined, or why it may be old. */
type Staleness = string | undefined

/**
 * Makes what is stored of upstreams' manifests and tags as new as they have it. A digest is asked for once. What a tag
 * means is asked each time, but one question serves all who ask meanwhile; when there is no answer, what it meant last
 * stands in.
 */
export class ProxiedManifests {
  readonly #tagMs: number
  readonly #dependencies: ProxiedManifestsDependencies
  readonly #asked = new SingleFlight<Staleness>()
  /** By tag, when its upstream last said what it means; oldest first. */
  readonly #confirmedMs = new Map<string, number>()
  /** By registry. */
  readonly #awaySince = new Map<string, { readonly ms: number; readonly error: OriginError }>()

  /** @param tagSeconds how long the meaning of a tag holds */
  constructor(tagSeconds: number, dependencies: ProxiedManifestsDependencies) {
    this.#tagMs = tagSeconds * 1000
    this.#dependencies = dependencies
  }

  /** Whether there is, or was, a repository of that name here. */
  knows(repository: string): Promise<boolean> {
    return this.#dependencies.manifests.knows(repository)
  }

  /**
   * Asks the upstream for what is not here, or may have changed; what it has is here afterwards. Returns why what is here
   * may be old, if it may.
   * @throws RegistryError `MANIFEST_UNKNOWN` when the upstream has none, or another when it can not be asked
   */
  async freshen(repository: string, reference: ManifestReference): Promise<Staleness> {
    const upstream = this.#dependencies.upstreams.of(repository)
    if (upstream === undefined) return undefined
    this.#dependencies.metrics.requests.inc({ type: 'manifest' })
    const key = `${repository} ${'tag' in reference ? reference.tag : reference.digest}`
    return this.#asked.run(key, () => this.#freshen(repository, upstream, reference))
  }

  /** A manifest of an upstream, so long, has gone out to a client. */
  sent(bytes: number): void {
    this.#dependencies.metrics.pushedBytes.inc({ type: 'manifest' }, bytes)
  }

  async #freshen(repository: string, upstream: UpstreamRepository, reference: ManifestReference): Promise<Staleness> {
    const { manifests, metrics, used } = this.#dependencies
    const known = await manifests.resolve(repository, reference)
    const held = known !== undefined && (await manifests.has(repository, known)) ? known : undefined
    try {
      const found = await this.#find(repository, upstream, reference, held)
      metrics.hits.inc({ type: 'manifest' }, found.isHit ? 1 : 0)
      metrics.misses.inc({ type: 'manifest' }, found.isHit ? 0 : 1)
      used(repository, formatDigest(found.digest))
      return found.staleness
    } catch (error) {
      if (isNotFound(error) && held !== undefined && 'tag' in reference) await this.#untag(repository, reference.tag)
      throw upstreamError(error, 'MANIFEST_UNKNOWN')
    }
  }

  async #find(
    repository: string,
    upstream: UpstreamRepository,
    reference: ManifestReference,
    held: Digest | undefined,
  ): Promise<{ readonly digest: Digest; readonly isHit: boolean; readonly staleness?: Staleness }> {
    if ('digest' in reference) {
      if (held !== undefined) return { digest: held, isHit: true }
      this.#throwIfNotKept(repository)
      return { digest: await this.#store(repository, await this.#get(upstream, reference.digest)), isHit: false }
    }
    const { tag } = reference
    if (held === undefined) return this.#findTag(repository, upstream, tag, held)
    if (this.#isConfirmed(repository, tag)) return { digest: held, isHit: true }
    if (!this.#dependencies.mayKeep()) return { digest: held, isHit: true, staleness: NO_CHANGES }
    try {
      this.#throwIfAway(upstream.registry)
      return await this.#findTag(repository, upstream, tag, held)
    } catch (error) {
      if (!isOriginAway(error)) throw error
      this.#noteAway(upstream.registry, error)
      return { digest: held, isHit: true, staleness: error.message }
    }
  }

  async #findTag(
    repository: string,
    upstream: UpstreamRepository,
    tag: string,
    held: Digest | undefined,
  ): Promise<{ readonly digest: Digest; readonly isHit: boolean }> {
    this.#throwIfNotKept(repository)
    const { client, manifests, signal } = this.#dependencies
    // A HEAD costs no pull at registries that count them.
    const head = await client.headManifest({ ...upstream, reference: tag, signal, ...(held && { maxWaitMs: 0 }) })
    const named = head.digest === undefined ? undefined : parseDigest(head.digest)
    const isHit = named !== undefined && (await manifests.has(repository, named))
    const fetched = isHit ? undefined : (head.manifest ?? (await this.#getNamed(upstream, head.digest, tag)))
    const digest = fetched === undefined ? named : await this.#store(repository, fetched)
    if (digest === undefined) throw new Error('a manifest that is here has a digest')
    if (held === undefined || formatDigest(held) !== formatDigest(digest)) {
      await this.#dependencies.turns.take(repository, () => manifests.tag(repository, tag, digest))
    }
    this.#confirm(repository, tag)
    return { digest, isHit }
  }

  /** What a tag means, by the digest that a HEAD named; by the tag where the upstream has nothing of that digest. */
  async #getNamed(upstream: UpstreamRepository, named: string | undefined, tag: string): Promise<FoundManifest> {
    if (named === undefined) return this.#get(upstream, tag)
    try {
      return await this.#get(upstream, named)
    } catch (error) {
      if (!isNotFound(error)) throw error
      return this.#get(upstream, tag)
    }
  }

  async #get(upstream: UpstreamRepository, reference: string): Promise<FoundManifest> {
    const { client, signal } = this.#dependencies
    const reply = await client.getManifest({ ...upstream, reference, signal })
    if (reply.status !== 200) throw originError('PROTOCOL', upstream, 'the upstream answers 304 without being asked to')
    return reply
  }

  /** Keeps what came for its digest, whatever it is: a client that knows the kind can read it. */
  async #store(repository: string, { digest: text, bytes }: FoundManifest): Promise<Digest> {
    const { manifests, turns, metrics } = this.#dependencies
    this.#throwIfNotKept(repository)
    metrics.pulledBytes.inc({ type: 'manifest' }, bytes.byteLength)
    const digest = parseDigest(text)
    await turns.take(repository, () => manifests.put(repository, digest, bytes))
    return digest
  }

  #throwIfNotKept(repository: string): void {
    if (this.#dependencies.mayKeep()) return
    throw new RegistryError('UNAVAILABLE', `${NO_CHANGES}, so nothing new of ${repository}: try again later`)
  }

  async #untag(repository: string, tag: string): Promise<void> {
    const { manifests, turns, mayKeep } = this.#dependencies
    if (mayKeep()) await turns.take(repository, () => manifests.untag(repository, tag))
  }

  #isConfirmed(repository: string, tag: string): boolean {
    const confirmedMs = this.#confirmedMs.get(`${repository}:${tag}`)
    return confirmedMs !== undefined && this.#dependencies.now() - confirmedMs < this.#tagMs
  }

  #confirm(repository: string, tag: string): void {
    if (this.#tagMs === 0) return
    const key = `${repository}:${tag}`
    this.#confirmedMs.delete(key)
    this.#confirmedMs.set(key, this.#dependencies.now())
    const [oldest] = this.#confirmedMs.keys()
    if (this.#confirmedMs.size > MAX_CONFIRMED && oldest !== undefined) this.#confirmedMs.delete(oldest)
  }

  #throwIfAway(registry: string): void {
    const away = this.#awaySince.get(registry)
    if (away !== undefined && this.#dependencies.now() - away.ms < AWAY_MS) throw away.error
  }

  #noteAway(registry: string, error: OriginError): void {
    if (this.#awaySince.get(registry)?.error !== error) {
      this.#awaySince.set(registry, { ms: this.#dependencies.now(), error })
    }
  }
}
