import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { type Logger, listenError, pause, type Startable, withDeadline } from '@shoal/core'
import type { Identity } from '@shoal/core/service'
import { createLibp2p, type Libp2p } from 'libp2p'
import { contentIdOf } from './content-id.ts'
import type { SwarmMetrics } from './metrics.ts'
import { Pace } from './pace.ts'

const DHT_PROTOCOL = '/shoal/kad/1.0.0'
const DIAL_DEADLINE_MS = 10_000
const PROVIDE_DEADLINE_MS = 30_000
const PROVIDE_PARALLEL = 4
const MAX_PROVIDE_QUEUE = 100_000
/**
 * A record costs this node and each neighbour that takes it some milliseconds of CPU, more than a small blob itself.
 * An image's layers go at once; of thousands of blobs the records follow in the background.
 */
const PROVIDE_PACE = { burst: 32, perSecond: 4 }

/** Where the libp2p node listens and whom it dials first. */
export interface SwarmOptions {
  readonly host: string
  readonly port: number
  readonly bootstrap: readonly string[]
}

/** A node that says it holds a blob whole. */
export interface Provider {
  readonly peerId: string
  readonly multiaddrs: readonly string[]
}

/**
 * The libp2p node: who this node is, over Noise, and who holds what, in a kad-dht of the cluster's own. Server mode
 * and the pass-through mapper are set because kad-dht by default keeps private addresses out of its tables.
 */
export class Swarm implements Startable {
  readonly #options: SwarmOptions
  readonly #identity: Identity
  readonly #log: Logger
  readonly #metrics: SwarmMetrics
  #node: Libp2p | undefined
  readonly #queue = new Set<string>()
  readonly #pace = new Pace(PROVIDE_PACE)
  #providing = 0
  #stopping = new AbortController()

  constructor(options: SwarmOptions, dependencies: { identity: Identity; log: Logger; metrics: SwarmMetrics }) {
    this.#options = options
    this.#identity = dependencies.identity
    this.#log = dependencies.log
    this.#metrics = dependencies.metrics
  }

  /** Addresses on which it listens, as multiaddrs that end in the peer id. */
  get multiaddrs(): string[] {
    return this.#node?.getMultiaddrs().map((address) => address.toString()) ?? []
  }

  /** How many nodes it is connected to. */
  get peerCount(): number {
    return this.#node?.getPeers().length ?? 0
  }

  async start(): Promise<void> {
    if (this.#node !== undefined) return
    this.#stopping = new AbortController()
    const { host, port } = this.#options
    const family = host.includes(':') ? 'ip6' : 'ip4'
    const node = await createLibp2p({
      privateKey: this.#identity.privateKey,
      start: false,
      addresses: { listen: [`/${family}/${host}/tcp/${port}`] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      // Nodes of one host, or behind one NAT, dial from one address; the default of 5 a second turns them away.
      connectionManager: { inboundConnectionThreshold: 100, maxIncomingPendingConnections: 100 },
      services: {
        identify: identify(),
        ping: ping(),
        dht: kadDHT({
          protocol: DHT_PROTOCOL,
          clientMode: false,
          peerInfoMapper: passthroughMapper,
          allowQueryWithZeroPeers: true,
        }),
      },
    })
    try {
      await node.start()
    } catch (cause) {
      await node.stop()
      throw listenError('libp2p', host, port, withSystemCode(cause))
    }
    this.#node = node
    this.bootstrap(this.#options.bootstrap)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#queue.clear()
    const node = this.#node
    this.#node = undefined
    await node?.stop()
  }

  /** Dials nodes to learn of others; those that do not answer are left out. */
  bootstrap(addresses: readonly string[]): void {
    for (const text of addresses) {
      void this.#dial(text).catch((error: unknown) => {
        this.#log.debug({ address: text, err: error }, 'a libp2p address can not be dialled')
      })
    }
  }

  /** Says in the DHT that this node holds the blob whole; in the background, tried again while nobody is there. */
  provide(digest: string): void {
    if (this.#queue.size >= MAX_PROVIDE_QUEUE) return
    this.#queue.add(digest)
    this.#pump()
  }

  /** Nodes that said they hold the blob whole; at most `limit`. */
  async findProviders(digest: string, limit: number, signal: AbortSignal): Promise<Provider[]> {
    const providers: Provider[] = []
    if (this.#node === undefined) return providers
    for await (const { id, multiaddrs } of this.#node.contentRouting.findProviders(contentIdOf(digest), { signal })) {
      if (id.toString() === this.#identity.peerId) continue
      providers.push({ peerId: id.toString(), multiaddrs: multiaddrs.map((address) => address.toString()) })
      if (providers.length >= limit) break
    }
    return providers
  }

  async #dial(text: string): Promise<void> {
    const address = multiaddr(text)
    if (this.#node === undefined || text.endsWith(this.#identity.peerId)) return
    await this.#node.dial(address, { signal: withDeadline(DIAL_DEADLINE_MS, this.#stopping.signal) })
  }

  #pump(): void {
    while (this.#providing < PROVIDE_PARALLEL) {
      const [digest] = this.#queue
      if (digest === undefined) return
      this.#queue.delete(digest)
      this.#providing++
      void this.#provideOne(digest).finally(() => {
        this.#providing--
        this.#pump()
      })
    }
  }

  async #provideOne(digest: string): Promise<void> {
    const { signal } = this.#stopping
    await pause(this.#pace.take(performance.now()), signal)
    for (let waitMs = 1000; !signal.aborted && this.#node !== undefined; waitMs = Math.min(60_000, waitMs * 2)) {
      try {
        if (this.peerCount > 0) {
          const options = { signal: withDeadline(PROVIDE_DEADLINE_MS, signal) }
          await this.#node.contentRouting.provide(contentIdOf(digest), options)
          this.#metrics.provided.inc()
          return
        }
      } catch (error) {
        this.#log.debug({ digest, err: error }, 'the DHT did not take a provider record; trying again')
      }
      await pause(waitMs, signal)
    }
  }
}

/** libp2p tells why it can not listen in its message alone: the system's code from there, where `listenError` looks. */
function withSystemCode(error: unknown): unknown {
  const code = error instanceof Error ? /\b(E[A-Z]{4,})\b/.exec(error.message)?.[1] : undefined
  return code === undefined ? error : Object.assign(new Error(code, { cause: error }), { code })
}
