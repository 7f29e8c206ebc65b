import type { Logger, Startable } from '@shoal/core'
import { OriginClient, rateHoldMemory } from '@shoal/origin'
import { createOriginMetrics, proxyRules, readOriginSettings } from '@shoal/origin/service'
import type { Registry } from 'prom-client'
import type { BlobStore } from '../storage/blobs.ts'
import type { StorageDriver } from '../storage/driver.ts'
import type { ManifestStore } from '../storage/manifests.ts'
import type { Turns } from '../storage/turns.ts'
import { UploadStore } from '../storage/uploads.ts'
import { ProxiedBlobs } from './blobs.ts'
import { UpstreamLists } from './lists.ts'
import { ProxiedManifests } from './manifests.ts'
import { createProxyMetrics } from './metrics.ts'
import type { ProxyOptions } from './options.ts'
import type { Upstreams } from './upstreams.ts'

interface ProxyDependencies {
  readonly upstreams: Upstreams
  readonly driver: StorageDriver
  readonly blobs: BlobStore
  readonly manifests: ManifestStore
  readonly turns: Pick<Turns, 'take'>
  /** A folder of this machine, in which blobs gather. */
  readonly spool: StorageDriver
  readonly isSpoolStorage: boolean
  /** Whether the storage may be changed at the moment. */
  readonly mayKeep: () => boolean
  /** Told of manifests that clients ask for. */
  readonly used: (repository: string, digest: string) => void
  readonly metrics: Registry
  readonly log: Logger
  /** Where proxies to upstreams are named; see proxyRules. */
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** The registry as a cache of others: their content comes when it is asked for, and is kept like the registry's own. */
export class PullThrough implements Startable {
  readonly upstreams: Upstreams
  readonly blobs: ProxiedBlobs
  readonly manifests: ProxiedManifests
  readonly lists: UpstreamLists
  readonly #clients: readonly OriginClient[]
  readonly #abort = new AbortController()

  /** Throws CoreError `CONFIG_INVALID`, or `CONFIG_UNREADABLE` for a file that an upstream's entry names. */
  static async create(options: ProxyOptions, dependencies: ProxyDependencies): Promise<PullThrough> {
    const configKey = 'proxy.upstreams'
    const entries = Object.entries(options.upstreams).map(([registry, { prefix: _, ...entry }]) => [registry, entry])
    const origins = await readOriginSettings(Object.fromEntries(entries), configKey)
    const { metrics, log, environment } = dependencies
    const client = {
      origins,
      allowUnlisted: false,
      limits: options.limits,
      configKey,
      holds: rateHoldMemory(),
      proxies: proxyRules(environment),
    }
    const originMetrics = createOriginMetrics(metrics)
    const create = () => new OriginClient(client, { log, metrics: originMetrics })
    return new PullThrough(options.tagSeconds, { ...dependencies, client: create(), bodies: create() })
  }

  private constructor(
    tagSeconds: number,
    { client, bodies, ...dependencies }: ProxyDependencies & { client: OriginClient; bodies: OriginClient },
  ) {
    const metrics = createProxyMetrics(dependencies.metrics)
    const { driver, blobs, upstreams } = dependencies
    const { signal } = this.#abort
    const now = () => performance.now()
    // What clients upload is counted elsewhere.
    const uploads = new UploadStore(driver, blobs, { received: () => {} })
    this.upstreams = upstreams
    this.blobs = new ProxiedBlobs({ ...dependencies, metrics, client, bodies, uploads })
    this.manifests = new ProxiedManifests(tagSeconds, { ...dependencies, metrics, client, signal, now })
    this.lists = new UpstreamLists(client, signal)
    this.#clients = [client, bodies]
  }

  start(): Promise<void> {
    return this.blobs.start()
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    await this.blobs.stop()
    await Promise.all(this.#clients.map((client) => client.close()))
  }
}
