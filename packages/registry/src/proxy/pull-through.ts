import type { Logger, Startable } from '@shoal/core'
import { OriginClient } from '@shoal/origin'
import { createOriginMetrics, readOriginSettings } from '@shoal/origin/service'
import type { Registry } from 'prom-client'
import { RegistryError } from '../errors.ts'
import type { Exchange, Handler } from '../routes/exchange.ts'
import type { Route } from '../routes/path.ts'
import type { RouteTable } from '../server.ts'
import type { BlobStore } from '../storage/blobs.ts'
import type { StorageDriver } from '../storage/driver.ts'
import type { ManifestStore } from '../storage/manifests.ts'
import type { Turns } from '../storage/turns.ts'
import { UploadStore } from '../storage/uploads.ts'
import { ProxiedBlobs } from './blobs.ts'
import { proxiedReferrers, proxiedTags } from './lists.ts'
import { ProxiedManifests } from './manifests.ts'
import { createProxyMetrics, type ProxyMetrics } from './metrics.ts'
import type { ProxyOptions } from './options.ts'
import type { Upstreams } from './upstreams.ts'
import { warn } from './warning.ts'

interface ProxyDependencies {
  readonly upstreams: Upstreams
  readonly driver: StorageDriver
  readonly blobs: BlobStore
  readonly manifests: ManifestStore
  readonly turns: Turns
  /** A folder of this machine, in which blobs gather. */
  readonly spool: StorageDriver
  readonly isSpoolStorage: boolean
  /** Whether the storage may be changed at the moment. */
  readonly mayKeep: () => boolean
  /** Told of manifests that clients ask for. */
  readonly used: (repository: string, digest: string) => void
  readonly metrics: Registry
  readonly log: Logger
}

/** Methods that push nothing. What is kept of others may be deleted. */
const NO_PUSH: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE'])

/** The registry as a cache of others: their content comes when it is asked for, and is kept like the registry's own. */
export class PullThrough implements Startable {
  readonly blobs: ProxiedBlobs
  readonly #manifests: ProxiedManifests
  readonly #dependencies: ProxyDependencies
  readonly #client: OriginClient
  readonly #bodies: OriginClient
  readonly #metrics: ProxyMetrics
  readonly #abort = new AbortController()

  /** Throws CoreError `CONFIG_INVALID`, or `CONFIG_UNREADABLE` for a file that an upstream's entry names. */
  static async create(options: ProxyOptions, dependencies: ProxyDependencies): Promise<PullThrough> {
    const configKey = 'proxy.upstreams'
    const entries = Object.entries(options.upstreams).map(([registry, { prefix: _, ...entry }]) => [registry, entry])
    const origins = await readOriginSettings(Object.fromEntries(entries), configKey)
    const { metrics, log } = dependencies
    const client = { origins, allowUnlisted: false, limits: options.limits, configKey }
    const originMetrics = createOriginMetrics(metrics)
    const create = () => new OriginClient(client, { log, metrics: originMetrics })
    return new PullThrough(options.tagSeconds, { ...dependencies, client: create(), bodies: create() })
  }

  private constructor(
    tagSeconds: number,
    { client, bodies, ...dependencies }: ProxyDependencies & { client: OriginClient; bodies: OriginClient },
  ) {
    const metrics = createProxyMetrics(dependencies.metrics)
    this.#metrics = metrics
    const { driver, blobs } = dependencies
    this.#dependencies = dependencies
    this.#client = client
    this.#bodies = bodies
    // What clients upload is counted elsewhere.
    const uploads = new UploadStore(driver, blobs, { received: () => {} })
    this.blobs = new ProxiedBlobs({ ...dependencies, metrics, client, bodies, uploads })
    const { signal } = this.#abort
    const now = () => performance.now()
    this.#manifests = new ProxiedManifests(tagSeconds, { ...dependencies, metrics, client, signal, now })
  }

  start(): Promise<void> {
    return this.blobs.start()
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    await this.blobs.stop()
    await Promise.all([this.#client.close(), this.#bodies.close()])
  }

  /**
   * What a request is about, its repository called as it is here.
   * @throws RegistryError `DENIED` when it would change what is another registry's
   */
  async locate<R extends Route>({ request, reply, query }: Exchange, route: R): Promise<R> {
    if (!('repository' in route)) return route
    const { upstreams, manifests } = this.#dependencies
    const ns = query.get('ns') ?? undefined
    const isPush = !NO_PUSH.has(request.method)
    // A push makes a repository of ours.
    const isOurs = async (name: string) => isPush || manifests.knows(name)
    const { repository: asked } = route
    const repository = await upstreams.nameOf({ repository: asked, ns, host: request.host }, isOurs)
    const upstream = upstreams.of(repository)
    if (upstream === undefined) return { ...route, repository }
    if (isPush) {
      throw new RegistryError(
        'DENIED',
        `${repository} is kept here for ${upstream.registry}: push to ${upstream.registry}/${upstream.repository}`,
      )
    }
    reply.header('oci-namespace', upstream.registry)
    return { ...route, repository }
  }

  /** Routes that answer for upstreams too. @param own those that answer for what is here; their blobs are `blobs` */
  routes(own: RouteTable): RouteTable {
    const { upstreams } = this.#dependencies
    const lists = { upstreams, client: this.#client, signal: this.#abort.signal }
    const freshened =
      (handle: Handler<'manifest'> | undefined): Handler<'manifest'> =>
      async (exchange, route) => {
        const { repository, reference } = route
        const staleness = reference && (await this.#manifests.freshen(repository, reference))
        if (staleness !== undefined) warn(exchange, staleness)
        const reply = (await handle?.(exchange, route)) ?? exchange.reply
        if (exchange.request.method === 'GET' && reply.statusCode === 200 && upstreams.of(repository) !== undefined) {
          this.#metrics.pushedBytes.inc({ type: 'manifest' }, Number(reply.getHeader('content-length')))
        }
        return reply
      }
    const manifest = { ...own.manifest, GET: freshened(own.manifest.GET), HEAD: freshened(own.manifest.HEAD) }
    return { ...own, manifest, tags: proxiedTags(own.tags, lists), referrers: proxiedReferrers(own.referrers, lists) }
  }
}
