import { formatDigest, Lifecycle, type Logger, prepareDataFolder } from '@shoal/core'
import { AdminServer, createMetricsRegistry, type Service } from '@shoal/core/service'
import type { Registry } from 'prom-client'
import { createAuditing } from './audit/auditing.ts'
import { type EventListener, Events, type RegistryEvent } from './events.ts'
import { addGcRoutes } from './gc/admin.ts'
import { GarbageCollector } from './gc/garbage-collector.ts'
import { createGcMetrics } from './gc/metrics.ts'
import { RateLimit } from './guards/rate-limit.ts'
import { addReadOnlyRoutes, ReadOnlyMode } from './guards/read-only.ts'
import { StorageHealth } from './guards/storage-health.ts'
import { Certificate } from './http/certificate.ts'
import { addIndexRoutes } from './listings/admin.ts'
import { IndexDb } from './listings/index-db.ts'
import { IndexedDriver } from './listings/indexed-driver.ts'
import { ListingIndex } from './listings/listing-index.ts'
import { createIndexMetrics } from './listings/metrics.ts'
import { StoredListings } from './listings/stored-listings.ts'
import { createRegistryMetrics } from './metrics.ts'
import { addNotificationRoutes } from './notifications/admin.ts'
import { createNotificationMetrics } from './notifications/metrics.ts'
import { Notifications } from './notifications/notifications.ts'
import type { RegistryOptions } from './options.ts'
import { PullThrough } from './proxy/pull-through.ts'
import { Upstreams } from './proxy/upstreams.ts'
import { UploadPurge } from './purge.ts'
import { quarantine } from './quarantine.ts'
import { Quotas } from './quotas/quotas.ts'
import { createRedirects } from './redirect/redirects.ts'
import { createReplicas, type Replicas } from './replicas/replicas.ts'
import { TagExpiry } from './retention/expiry.ts'
import { Policies } from './retention/policies.ts'
import { PullTimes } from './retention/pull-times.ts'
import { retentionPolicies } from './retention-policies.ts'
import { baseRoutes } from './routes/base.ts'
import { blobRoutes } from './routes/blobs.ts'
import type { RouteTable } from './routes/exchange.ts'
import { manifestRoutes } from './routes/manifests.ts'
import { locate, proxiedRoutes } from './routes/proxied.ts'
import { referrerRoutes } from './routes/referrers.ts'
import { catalogRoutes, tagRoutes } from './routes/tags.ts'
import { uploadRoutes, uploadsRoutes } from './routes/uploads.ts'
import { RegistryServer } from './server.ts'
import { BlobChecks } from './storage/blob-checks.ts'
import { BlobStore } from './storage/blobs.ts'
import { ContentUses } from './storage/content-uses.ts'
import type { StorageDriver } from './storage/driver.ts'
import { FilesystemDriver } from './storage/filesystem.ts'
import { ManifestStore } from './storage/manifests.ts'
import { MeteredDriver } from './storage/metered.ts'
import { openStorage } from './storage/open-storage.ts'
import { UploadStore } from './storage/uploads.ts'

/** The registry, wired: storage below, routes above it, one server for clients and one for operators. */
export async function createRegistryService(
  options: RegistryOptions,
  log: Logger,
  environment: Readonly<Record<string, string | undefined>> = {},
): Promise<Service> {
  const registry = createMetricsRegistry()
  const metrics = createRegistryMetrics(registry)
  const tracing = options.tracing && new (await import('./tracing/tracing.ts')).Tracing(options.tracing)
  const storage = new MeteredDriver(await openStorage(options), options.storage.driver, {
    seconds: metrics.storageSeconds,
    span: tracing && ((name, work) => tracing.action(name, work)),
  })
  const replicas = await createReplicas(options, { metrics: registry, log })
  const { uses, turns, holds } = replicas
  const index = createIndex(options.dataDir, { storage, replicas, registry, log })
  const driver = new IndexedDriver(storage, index)
  const quotas = new Quotas(options.quotas, driver, replicas.isAlone)
  const readOnly = new ReadOnlyMode(options.readOnly, replicas.readOnly)
  const checks = new BlobChecks({
    driver,
    log,
    damaged: async (digest) => {
      metrics.damagedBlobs.inc()
      const movedTo = readOnly.isOn ? undefined : await quarantine(driver, digest)
      log.error({ digest: formatDigest(digest), movedTo }, 'a stored blob is damaged; a push of it brings it again')
    },
  })
  const blobs = new BlobStore(driver, uses, quotas, checks)
  const manifests = new ManifestStore(driver, uses)
  const observer = {
    received: (bytes: number) => metrics.uploadBytesReceived.inc(bytes),
    limitOf: (repository: string) => quotas.limitOf(repository),
  }
  const uploads = new UploadStore(driver, blobs, observer, holds)
  const notifications = createNotifications(options, { registry, log, port: () => server.port })
  const auditing = await createAuditing(options.audit, { metrics: registry, log })
  const listeners: EventListener[] = []
  if (notifications !== undefined) listeners.push((event) => notifications.take(event))
  if (auditing !== undefined) listeners.push(auditing.done)
  const events = new Events(listeners)
  const upstreams = new Upstreams(options.proxy)
  const policies = new Policies(retentionPolicies(options))
  const pulls = policies.isEmpty ? undefined : new PullTimes(replicas.pulls, { log })
  if (pulls !== undefined) listeners.push(async (event) => notePull(pulls, event))
  const retention = pulls && {
    policies,
    expiry: new TagExpiry({
      driver,
      manifests,
      turns,
      pulls,
      removed: (repository, tag) =>
        events.tellOwn('shoal-retention', { action: 'delete', kind: 'manifest', repository, tag }),
    }),
    pulls,
  }
  const gcMetrics = createGcMetrics(registry)
  const collector = new GarbageCollector(options.gc, {
    driver,
    uses,
    turns,
    hold: () => holds.tryTake('collection'),
    retention,
    references: (digest) => index.references(digest),
    unlinked: (repository) => quotas.forget(repository),
    metrics: gcMetrics,
    log,
  })
  const mayDelete = options.delete.enabled
  const redirects = await createRedirects(options.redirect, driver, options.storage.prefix)
  const certificate = options.tls && (await Certificate.read(options.tls, { log }))
  const tls = certificate && { certificate, http2: options.tls?.http2 ?? false }
  const proxy = upstreams.isEmpty
    ? undefined
    : await PullThrough.create(options.proxy, {
        environment,
        upstreams,
        driver,
        blobs,
        manifests,
        turns,
        spool: new FilesystemDriver(options.dataDir),
        isSpoolStorage: options.storage.driver === 'filesystem',
        mayKeep: () => !readOnly.isOn && replicas.areReachable,
        used: (repository, digest) => pulls?.note(repository, digest),
        metrics: registry,
        log,
      })
  const health = new StorageHealth(options.health, { driver, log })
  const routes: RouteTable = {
    base: baseRoutes,
    catalog: catalogRoutes(index),
    blob: blobRoutes({ blobs: proxy?.blobs ?? blobs, turns, metrics, events, log, redirects, mayDelete }),
    uploads: uploadsRoutes({ blobs, uploads, metrics, events }),
    upload: uploadRoutes({ blobs, uploads, metrics, events }),
    manifest: manifestRoutes({ blobs, manifests, turns, events, quotas, mayDelete }),
    tags: tagRoutes(index),
    referrers: referrerRoutes(index),
  }
  const server: RegistryServer = new RegistryServer(options, {
    routes: proxy === undefined ? routes : proxiedRoutes(routes, proxy),
    locate: proxy && ((exchange, route) => locate(proxy, exchange, route)),
    guards: [health.guard, readOnly.guard],
    rateLimit: new RateLimit(options.rateLimit),
    tls,
    trace: tracing && ((exchange, work) => tracing.request(exchange, work)),
    logAccess: options.accessLog ? (access) => log.info(access, 'request') : undefined,
    metrics,
    log,
    ...(auditing === undefined ? {} : { refused: auditing.refused, authenticated: auditing.authenticated }),
  })
  const admin = new AdminServer(
    { name: 'registry metrics', ...options.metrics },
    {
      metrics: registry,
      notReady: () => (server.port === 0 ? 'the registry does not listen yet, or no more' : health.failure),
      routes: (admin) => {
        addGcRoutes(admin, collector)
        addReadOnlyRoutes(admin, readOnly)
        addIndexRoutes(admin, index)
        if (notifications !== undefined) addNotificationRoutes(admin, notifications)
      },
    },
  )
  const dataFolder = { start: async () => void (await prepareDataFolder(options.dataDir)), stop: async () => {} }
  const purge = new UploadPurge(options.uploads.expireAfterHours, { uploads, metrics, log })
  const listening = [
    tracing,
    replicas,
    readOnly,
    index,
    notifications,
    ...(auditing?.parts ?? []),
    pulls,
    certificate,
    proxy,
  ].filter((each) => each !== undefined)
  const lifecycle = new Lifecycle([dataFolder, ...listening, admin, server, health, purge, collector])
  return {
    start: () => lifecycle.start(),
    stop: () => lifecycle.stop(),
    addresses: () => ({
      registry: httpUrl(options.host, server.port, options.tls !== undefined),
      metrics: httpUrl(options.metrics.host, admin.port),
    }),
  }
}

function notePull(pulls: PullTimes, { action, kind, repository, digest }: RegistryEvent): void {
  if (action === 'pull' && kind === 'manifest' && digest !== undefined) pulls.note(repository, digest)
}

function createIndex(
  dataDir: string,
  { storage, replicas: { uses, versions }, registry, log }: IndexParts,
): ListingIndex {
  const db = new IndexDb(dataDir)
  return new ListingIndex({
    db,
    stored: new StoredListings({ driver: storage, manifests: new ManifestStore(storage, uses), facts: db }),
    driver: storage,
    manifests: new ManifestStore(storage, new ContentUses()),
    used: (digest) => uses.note(digest),
    versions,
    metrics: createIndexMetrics(registry),
    log,
  })
}

interface IndexParts {
  readonly storage: StorageDriver
  readonly replicas: Replicas
  readonly registry: Registry
  readonly log: Logger
}

/** Undefined when nobody is to be told. */
function createNotifications(
  { dataDir, notifications: { endpoints } }: RegistryOptions,
  { registry, log, port }: { readonly registry: Registry; readonly log: Logger; readonly port: () => number },
): Notifications | undefined {
  if (Object.keys(endpoints).length === 0) return undefined
  return new Notifications({ dataDir, endpoints }, { port, metrics: createNotificationMetrics(registry), log })
}

function httpUrl(host: string, port: number, isTls = false): string {
  return `${isTls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
}
