import { hostname } from 'node:os'
import { join } from 'node:path'
import {
  availableHost,
  formatHostPort,
  keepToOwner,
  Lifecycle,
  type Logger,
  PIECE_RULE,
  prepareDataFolder,
} from '@shoal/core'
import {
  AdminServer,
  createMetricsRegistry,
  type Identity,
  loadOrCreateIdentity,
  type Service,
} from '@shoal/core/service'
import { OriginClient, rateHoldMemory } from '@shoal/origin'
import type { OriginClientOptions } from '@shoal/origin/service'
import { createOriginMetrics, proxyRules, readOriginSettings } from '@shoal/origin/service'
import { type Hello, NodeRole } from '@shoal/proto'
import packageJson from '../package.json' with { type: 'json' }
import { createCoordinatorMetrics } from './coordinator/metrics.ts'
import { schedulerAddresses } from './coordinator/options.ts'
import { Schedulers } from './coordinator/schedulers.ts'
import { Downloads } from './download/downloads.ts'
import { createDownloadMetrics } from './download/metrics.ts'
import { Rejections } from './download/rejections.ts'
import { createLaneMetrics } from './lane/metrics.ts'
import { createLimitsMetrics } from './limits/metrics.ts'
import { NodeLimits } from './limits/node-limits.ts'
import { checkLimits } from './limits/options.ts'
import { addLimitsRoutes } from './limits/routes.ts'
import { createMirrorMetrics } from './mirror/metrics.ts'
import { Mirror } from './mirror/server.ts'
import { decodeTag, type KnownTag, Tags } from './mirror/tags.ts'
import type { NodeOptions } from './options.ts'
import { reachTroubles } from './reach.ts'
import { Rights } from './rights/rights.ts'
import { createRuntimeContentMetrics } from './runtime-content/metrics.ts'
import { NodeBlobs } from './runtime-content/node-blobs.ts'
import { RuntimeContent } from './runtime-content/runtime-content.ts'
import { ManifestStore } from './store/manifests.ts'
import { createStoreMetrics } from './store/metrics.ts'
import { checkStoreOptions } from './store/options.ts'

import { RecentRecords } from './store/recent-records.ts'
import { RollingScrub } from './store/rolling-scrub.ts'

import { addStoreRoutes } from './store/routes.ts'
import { Scrubber } from './store/scrubber.ts'
import { ServedBlobs } from './store/served-blobs.ts'
import { BlobStore } from './store/store.ts'
import { createSwarmMetrics } from './swarm/metrics.ts'
import { bootstrapNames, checkBootstrap } from './swarm/options.ts'
import { Swarm } from './swarm/swarm.ts'
import { WorkerPool } from './workers/pool.ts'

/** Each tag takes one for what clients accept, and one for any of them. */
const MOST_TAGS = 20_000

/** What a node is for. */
export type Role = 'peer' | 'seed'

/** Makes a node: its data folder is prepared and its identity loaded; nothing listens before `start`. */
export async function createNode(
  role: Role,
  options: NodeOptions,
  log: Logger,
  environment: Readonly<Record<string, string | undefined>> = {},
): Promise<Service> {
  checkStoreOptions(options.store)
  checkLimits(options.limits)
  schedulerAddresses(options.schedulers)
  checkBootstrap(options.libp2p.bootstrap)
  bootstrapNames(options.libp2p.bootstrapDns)
  const dataDir = await prepareDataFolder(options.dataDir)
  if ((await keepToOwner(dataDir)) === 'failed') {
    log.warn({ dataDir }, 'other users may look into the data folder, and its rights cannot be changed by this user')
  }
  const identity = await loadOrCreateIdentity(join(dataDir, 'identity.key'), log)
  const origins = {
    origins: await readOriginSettings(options.origins),
    allowUnlisted: options.allowUnlistedOrigins,
    limits: options.originLimits,
    holds: rateHoldMemory(),
    proxies: proxyRules(environment),
  }
  const lane = { ...options.lane, host: await availableHost(options.lane.host) }
  const libp2p = { ...options.libp2p, host: await availableHost(options.libp2p.host) }
  return new Node(role, { ...options, dataDir, lane, libp2p }, { identity, origins, log })
}

/** One node: wires the rooms in the order in which they depend on each other. */
class Node implements Service {
  readonly #options: NodeOptions
  readonly #identity: Identity
  readonly #log: Logger
  readonly #role: Role
  readonly #workers: WorkerPool
  readonly #store: BlobStore
  readonly #manifests: ManifestStore
  readonly #tags: RecentRecords<KnownTag>
  readonly #rights: Rights
  readonly #runtimeContent: RuntimeContent
  readonly #blobs: NodeBlobs
  readonly #servedBlobs: ServedBlobs
  readonly #scrubber: Scrubber
  readonly #rollingScrub: RollingScrub
  readonly #swarm: Swarm
  readonly #downloads: Downloads
  readonly #rejections: Rejections
  readonly #schedulers: Schedulers
  readonly #mirror: Mirror
  readonly #admin: AdminServer
  readonly #lifecycle: Lifecycle

  constructor(
    role: Role,
    options: NodeOptions,
    dependencies: { identity: Identity; origins: OriginClientOptions; log: Logger },
  ) {
    const { identity, origins, log } = dependencies
    const metrics = createMetricsRegistry()
    const originMetrics = createOriginMetrics(metrics)
    const limits = new NodeLimits(options.limits)
    createLimitsMetrics(metrics, () => limits.inForce)
    const now = () => performance.now()
    this.#role = role
    this.#options = options
    this.#identity = identity
    this.#log = log
    this.#workers = new WorkerPool(
      // A seed is there to be asked by many at once.
      { threads: options.workers, lane: options.lane, origins, ...(role === 'seed' ? { busyShare: 0 } : {}) },
      {
        identity,
        log: log.child({ room: 'lane' }),
        metrics: createLaneMetrics(metrics),
        originMetrics,
        limits,
        // The two name each other; libp2p is made below.
        openStream: (peerId, signal) =>
          this.#swarm.openPieceStream(peerId, this.#schedulers.multiaddrsOf(peerId), signal),
        ending: (digest, piece) => this.#downloads.ending(digest, piece),
        rejected: (digest, piece, peerId) => this.#rejections.add(digest, piece, peerId),
        lookup: (digest) => {
          const blob = this.#blobs.find(digest)
          if (blob === undefined) return undefined
          this.#servedBlobs.lookedUp(digest)
          return { file: blob.file, nextFile: blob.nextFile, size: blob.size, have: blob.haveBuffer }
        },
      },
    )
    const storeMetrics = createStoreMetrics(metrics, () => this.#store.view())
    const storeLog = log.child({ room: 'store' })
    const storeOptions = { dataDir: options.dataDir, ...options.store }
    this.#store = new BlobStore(storeOptions, {
      hasher: this.#workers,
      metrics: storeMetrics,
      log: storeLog,
      otherBytes: () => this.#manifests.bytes,
      isSpare: (digest) => this.#runtimeContent.find(digest) !== undefined,
    })
    const { index } = this.#store
    this.#manifests = new ManifestStore(storeOptions, { index, log: storeLog })
    this.#tags = new RecentRecords(
      { prefix: 'tag!', most: MOST_TAGS, decode: decodeTag },
      { table: index, log: storeLog },
    )
    this.#store.follow({
      moved: (digest) => this.#workers.forget(digest),
      withdrawn: (digest) => this.#downloads.withdrawn(digest),
      adopted: (blob) => this.#downloads.found(blob),
    })
    this.#runtimeContent = new RuntimeContent(
      { folder: options.store.containerdContent },
      {
        index: this.#store.index,
        hasher: this.#workers,
        listener: {
          found: (blob) => {
            this.#workers.forget(blob.digest)
            if (!this.#store.find(blob.digest)?.isComplete) this.#downloads.found(blob)
          },
          vanished: (digest) => {
            this.#workers.forget(digest)
            this.#downloads.vanished(digest)
          },
        },
        metrics: createRuntimeContentMetrics(metrics, () => this.#runtimeContent.view()),
        log: log.child({ room: 'runtime-content' }),
      },
    )
    this.#blobs = new NodeBlobs(this.#store, this.#runtimeContent)
    this.#servedBlobs = new ServedBlobs({
      touch: (digest) => this.#store.touch(digest),
      forget: (digest) => this.#workers.forget(digest),
    })
    this.#scrubber = new Scrubber({
      scrub: (signal, report) => this.#store.scrub(signal, report),
      isDueAtStart: () => this.#store.hasUnknownFiles,
      metrics: storeMetrics,
      log: storeLog,
    })
    this.#rollingScrub = new RollingScrub(options.store.scrubDays, {
      blobs: () => this.#store.complete(),
      check: (blob, signal) => this.#store.check(blob, signal),
      random: Math.random,
    })
    this.#swarm = new Swarm(options.libp2p, {
      identity,
      // The two name each other; the engine is made below.
      source: {
        holdings: (digest) => this.#downloads.holdings(digest),
        fetchForOthers: (digest, wanted, asker) => this.#downloads.fetchForOthers(digest, wanted, asker),
      },
      lane: () => ({ host: options.lane.advertiseHost, port: this.#workers.lanePort }),
      servePieces: (peerId, stream) => this.#workers.serve(peerId, stream),
      hasScheduler: () => this.#schedulers.isConnected,
      log: log.child({ room: 'swarm' }),
      metrics: createSwarmMetrics(
        metrics,
        () => this.#swarm.peerCount,
        () => this.#swarm.providerRecords,
      ),
    })
    this.#schedulers = new Schedulers(
      { addresses: schedulerAddresses(options.schedulers) },
      {
        hello: () => this.#hello(),
        // The two name each other; the engine is made next.
        listener: () => this.#downloads,
        originShare: (bytesPerSecond) => limits.shareOrigin(bytesPerSecond),
        log: log.child({ room: 'coordinator' }),
        now,
      },
    )
    createCoordinatorMetrics(metrics, () => this.#schedulers.views().filter(({ isConnected }) => isConnected).length)
    const origin = new OriginClient(origins, {
      log: log.child({ room: 'origin' }),
      metrics: originMetrics,
      limit: limits.own.origin,
    })
    this.#rights = new Rights(
      { ttlMs: options.mirror.accessTtlMs },
      { origin, table: index, log: log.child({ room: 'rights' }) },
    )
    this.#downloads = new Downloads(options.download, {
      store: this.#blobs,
      workers: this.#workers,
      hasher: this.#workers,
      possessions: this.#rights.contents,
      coordinator: this.#schedulers,
      finder: this.#swarm,
      metrics: createDownloadMetrics(metrics, () => this.#downloads.activeCount),
      log: log.child({ room: 'download' }),
      now,
      random: Math.random,
      isHeldBack: () => limits.isHoldingBack,
      begun: (digest, isFromOrigin) => this.#swarm.provide(digest, isFromOrigin),
      published: (digest, isFromOrigin) => this.#swarm.provide(digest, isFromOrigin),
      origin: {
        blobSize: (digest, source, signal) => this.#rights.confirm(source, digest, signal),
        fetchBlob: (call, onChunk) => origin.fetchBlob(call, onChunk),
      },
      bootstrap: (multiaddrs) => this.#swarm.bootstrap(multiaddrs),
    })
    this.#rejections = new Rejections({
      recheck: (digest, piece, signal) => this.#downloads.recheck(digest, piece, signal),
      log: log.child({ room: 'download' }),
      now,
    })
    this.#mirror = new Mirror(
      { ...options.mirror, listed: new Set(Object.keys(options.origins)) },
      {
        downloads: this.#downloads,
        origin,
        manifests: this.#manifests,
        tags: new Tags(options.mirror, { records: this.#tags, now: Date.now }),
        rights: this.#rights,
        metrics: createMirrorMetrics(metrics),
        log: log.child({ room: 'mirror' }),
        now,
      },
    )
    this.#admin = new AdminServer(
      { name: 'admin', ...options.admin },
      {
        metrics,
        notReady: () => (this.#mirror.port === 0 ? 'the mirror does not listen yet' : undefined),
        routes: (server) => {
          server.get('/api/v1/node', async () => this.#describe())
          server.get('/api/v1/downloads', async () => ({ downloads: this.#downloads.summaries() }))
          addStoreRoutes(server, this.#scrubber)
          addLimitsRoutes(server, limits)
        },
      },
    )
    this.#lifecycle = new Lifecycle([
      this.#workers,
      this.#store,
      this.#manifests,
      this.#tags,
      this.#rights,
      this.#servedBlobs,
      this.#scrubber,
      this.#rollingScrub,
      { start: async () => {}, stop: () => origin.close() },
      this.#swarm,
      { start: async () => this.#provideHeld(), stop: async () => {} },
      this.#downloads,
      this.#rejections,
      this.#runtimeContent,
      this.#schedulers,
      this.#mirror,
      this.#admin,
    ])
  }

  async start(): Promise<void> {
    await this.#lifecycle.start()
    this.#sayWhatKeepsOthersOut()
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop()
  }

  addresses(): Record<string, string> {
    const { mirror, lane, libp2p, admin } = this.#options
    return {
      mirror: `http://${formatHostPort(mirror.host, this.#mirror.port)}`,
      lane: formatHostPort(lane.host, this.#workers.lanePort),
      libp2p: this.#swarm.multiaddrs[0] ?? formatHostPort(libp2p.host, libp2p.port),
      admin: `http://${formatHostPort(admin.host, this.#admin.port)}`,
    }
  }

  #sayWhatKeepsOthersOut(): void {
    const { lane, libp2p, schedulers } = this.#options
    const troubles = reachTroubles({
      laneHost: lane.host,
      advertiseHost: lane.advertiseHost,
      libp2pHost: libp2p.host,
      isLibp2pShared: this.#swarm.isShared,
      schedulers,
      bootstrap: libp2p.bootstrap,
      bootstrapDns: libp2p.bootstrapDns,
      mdns: libp2p.mdns,
    })
    if (troubles.length > 0) this.#log.warn({ troubles }, 'nodes on other machines cannot reach this one')
  }

  #provideHeld(): void {
    for (const { digest } of this.#store.complete()) this.#swarm.provide(digest)
  }

  #hello(): Hello {
    const { lane, labels } = this.#options
    return {
      peerId: this.#identity.peerId,
      name: this.#name(),
      role: this.#role === 'seed' ? NodeRole.SEED : NodeRole.PEER,
      laneHost: lane.advertiseHost,
      lanePort: this.#workers.lanePort,
      multiaddrs: this.#swarm.multiaddrs.slice(0, 16),
      uploadSlots: lane.uploadSlots,
      downloadSlots: lane.downloadSlots,
      labels: { ...labels },
      version: packageJson.version,
      readsBatches: true,
      pieceRule: PIECE_RULE,
    }
  }

  #name(): string {
    return this.#options.name === '' ? hostname() : this.#options.name
  }

  #describe() {
    return {
      name: this.#name(),
      peerId: this.#identity.peerId,
      role: this.#role,
      version: packageJson.version,
      addresses: this.addresses(),
      /** For `libp2p.bootstrap` of others. */
      libp2pAddresses: this.#swarm.multiaddrs,
      schedulers: this.#schedulers.views(),
      libp2pConnections: this.#swarm.peerCount,
      store: this.#store.summary(),
      containerdContent: this.#runtimeContent.view(),
    }
  }
}
