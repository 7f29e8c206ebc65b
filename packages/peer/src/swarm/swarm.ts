import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { type KadDHT, kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { type Logger, listenError, pause, type Startable, withDeadline } from '@shoal/core'
import type { Identity } from '@shoal/core/service'
import { createLibp2p, type Libp2p } from 'libp2p'
import { contentIdOf } from './content-id.ts'
import { nearestTo, placeOf } from './distance.ts'
import type { Holder, HolderFinder, HoldingsSource, Wanted } from './holders.ts'
import { HoldingsExchange } from './holdings-exchange.ts'
import type { SwarmMetrics } from './metrics.ts'
import { Pace } from './pace.ts'
import { Walks } from './walks.ts'

const DHT_PROTOCOL = '/shoal/kad/1.0.0'
const DIAL_DEADLINE_MS = 10_000
/** A node that is connected to nobody dials all that it was ever told again after this. */
const REJOIN_MS = 5000
const MAX_ADDRESSES = 256
const PROVIDE_DEADLINE_MS = 30_000
const PROVIDE_PARALLEL = 4
const MAX_PROVIDE_QUEUE = 100_000
/** Blobs of which it is remembered that the DHT was told. */
const MAX_PROVIDED = 100_000
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

/**
 * The libp2p node: who this node is, over Noise; who holds what, in a kad-dht of the cluster's own and by asking each
 * other. Server mode and the pass-through mapper are set because kad-dht by default keeps private addresses out of its
 * tables.
 */
export class Swarm implements Startable, HolderFinder {
  readonly #options: SwarmOptions
  readonly #identity: Identity
  readonly #log: Logger
  readonly #metrics: SwarmMetrics
  readonly #exchange: HoldingsExchange
  readonly #walks = new Walks()
  /** Addresses to start from, the newest last. */
  readonly #addresses = new Set<string>()
  #rejoining: NodeJS.Timeout | undefined
  #node: Libp2p<{ dht: KadDHT }> | undefined
  readonly #queue = new Set<string>()
  /** Blobs of which the DHT is or was told; it tells again by itself. */
  readonly #provided = new Set<string>()
  readonly #pace = new Pace(PROVIDE_PACE)
  #providing = 0
  #stopping = new AbortController()

  constructor(
    options: SwarmOptions,
    dependencies: {
      identity: Identity
      /** What other nodes may ask of this one. */
      source: HoldingsSource
      /** Where this node's lane is; an empty host: where it is connected from. */
      lane: () => { host: string; port: number }
      log: Logger
      metrics: SwarmMetrics
    },
  ) {
    this.#options = options
    this.#identity = dependencies.identity
    this.#log = dependencies.log
    this.#metrics = dependencies.metrics
    this.#exchange = new HoldingsExchange(dependencies)
  }

  get peerId(): string {
    return this.#identity.peerId
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
      await this.#exchange.serveOn(node)
      await node.start()
    } catch (cause) {
      await node.stop()
      throw listenError('libp2p', host, port, withSystemCode(cause))
    }
    this.#node = node
    this.bootstrap(this.#options.bootstrap)
    this.#rejoining = setInterval(() => {
      if (this.peerCount === 0) for (const address of this.#addresses) this.#tryDial(address)
    }, REJOIN_MS)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    clearInterval(this.#rejoining)
    this.#queue.clear()
    this.#provided.clear()
    const node = this.#node
    this.#node = undefined
    await node?.stop()
  }

  /** Dials nodes to learn of others; those that do not answer are tried again when this node knows nobody. */
  bootstrap(addresses: readonly string[]): void {
    for (const address of addresses) {
      this.#addresses.delete(address)
      this.#addresses.add(address)
      this.#tryDial(address)
    }
    for (const oldest of this.#addresses) {
      if (this.#addresses.size <= MAX_ADDRESSES) break
      this.#addresses.delete(oldest)
    }
  }

  /** Says in the DHT that this node holds some of the blob; in the background, tried again while nobody is there. */
  provide(digest: string): void {
    if (this.#queue.size >= MAX_PROVIDE_QUEUE || this.#provided.has(digest)) return
    this.#queue.add(digest)
    this.#provided.add(digest)
    const [oldest] = this.#provided
    if (this.#provided.size > MAX_PROVIDED && oldest !== undefined) this.#provided.delete(oldest)
    this.#pump()
  }

  async *find(digest: string, signal: AbortSignal): AsyncGenerator<string> {
    const node = this.#node
    if (node === undefined) return
    const answered = this.#walks.begin(digest, performance.now())
    const found = new Set([this.peerId])
    for await (const event of node.services.dht.findProviders(contentIdOf(digest), { signal })) {
      if (event.name === 'PEER_RESPONSE') answered.add(event.from.toString())
      if (event.name !== 'PROVIDER') continue
      for (const { id, multiaddrs } of event.providers) {
        const peerId = id.toString()
        if (found.has(peerId)) continue
        found.add(peerId)
        if (multiaddrs.length > 0) await node.peerStore.merge(id, { multiaddrs }, { signal })
        yield peerId
      }
    }
  }

  /** Of those that answer on a walk towards the digest, and those that are connected anyway. */
  async nearest(digest: string, count: number, signal: AbortSignal): Promise<readonly string[]> {
    const node = this.#node
    if (node === undefined) return []
    const answered = this.#walks.recent(digest, performance.now()) ?? (await this.#walk(digest, signal))
    const ids = new Set([this.peerId, ...answered, ...node.getPeers().map((id) => id.toString())])
    const candidates = [...ids].map((peerId) => ({
      peerId,
      place: placeOf(peerIdFromString(peerId).toMultihash().bytes),
    }))
    const target = placeOf(contentIdOf(digest).multihash.bytes)
    return nearestTo(target, candidates, count).map(({ peerId }) => peerId)
  }

  async ask(
    peerId: string,
    blob: { readonly digest: string; readonly size: number },
    wanted: Wanted | undefined,
    signal: AbortSignal,
  ): Promise<Holder | undefined> {
    if (this.#node === undefined) return undefined
    return this.#exchange.ask(this.#node, peerIdFromString(peerId), blob, wanted, signal)
  }

  /** Who answers when the DHT is walked towards the digest, as far as `signal` lets it come. */
  async #walk(digest: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
    try {
      for await (const _ of this.find(digest, signal));
    } catch (error) {
      this.#log.debug({ digest, err: error }, 'the DHT could not be walked to the end')
    }
    return this.#walks.recent(digest, performance.now()) ?? new Set()
  }

  #tryDial(address: string): void {
    void this.#dial(address).catch((error: unknown) => {
      this.#log.debug({ address, err: error }, 'a libp2p address can not be dialled')
    })
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
