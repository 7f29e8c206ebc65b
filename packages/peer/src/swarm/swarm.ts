import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import type { Connection, PeerId, Stream } from '@libp2p/interface'
import { type KadDHT, kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import {
  ALL_ADDRESSES,
  ALL_IPV4_ADDRESSES,
  type Logger,
  listenError,
  pause,
  type Startable,
  withDeadline,
} from '@shoal/core'
import type { Identity } from '@shoal/core/service'
import { createLibp2p, type Libp2p } from 'libp2p'
import { Bootstrap } from './bootstrap.ts'
import { BoundedDatastore } from './bounded-datastore.ts'
import { contentIdOf } from './content-id.ts'
import { nearestTo, placeOf } from './distance.ts'
import type { Holder, HolderFinder, HoldingsSource, NamedNode, Wanted } from './holders.ts'
import { HoldingsExchange } from './holdings-exchange.ts'
import { type LookUp, systemLookUp } from './look-up.ts'
import type { SwarmMetrics } from './metrics.ts'
import { bootstrapNames } from './options.ts'
import { PieceStreams } from './piece-streams.ts'
import { ProviderRecords } from './provider-records.ts'
import { addressesToShare, isOnlyHere } from './shared-addresses.ts'
import { Walks } from './walks.ts'

const DHT_PROTOCOL = '/shoal/kad/1.0.0'
const MAX_OWN_ADDRESSES = 64
/** Half of what a stream may keep unread before it is reset: the other end may have sent a window when we stop reading. */
const MAX_WINDOW_BYTES = 2 * 1024 * 1024
/**
 * How often each connection is tried. A ping is a stream of its own, some milliseconds of CPU at both ends: at libp2p's
 * ten seconds an idle node of a cluster of sixteen spent twice as much.
 */
const PING_MS = 60_000
const PROVIDE_DEADLINE_MS = 30_000

/** Where the libp2p node listens and whom it dials first. */
export interface SwarmOptions {
  readonly host: string
  readonly port: number
  /** Addresses that end in a peer id. */
  readonly bootstrap: readonly string[]
  /** Each `host:port`. */
  readonly bootstrapDns: readonly string[]
  /** Whether nodes of the same LAN are looked for. */
  readonly mdns: boolean
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
  readonly #pieces: PieceStreams
  readonly #walks = new Walks()
  readonly #bootstrap: Bootstrap
  readonly #records: ProviderRecords
  /** Where this node itself answered when it was dialled, beside the addresses that it knows of. */
  readonly #ownAddresses = new Set<string>()
  #datastore: BoundedDatastore | undefined
  #node: Libp2p<{ dht: KadDHT }> | undefined
  #stopping = new AbortController()

  constructor(
    options: SwarmOptions,
    dependencies: {
      identity: Identity
      /** What other nodes may ask of this one. */
      source: HoldingsSource
      /** Where this node's lane is; an empty host: where it is connected from. */
      lane: () => { host: string; port: number }
      /** Serves pieces to a peer on a stream, until that is closed; left out: none are served. */
      servePieces?: (peerId: string, stream: Stream) => void
      /** Whether a scheduler tells nodes of each other; left out: there is none. */
      hasScheduler?: () => boolean
      log: Logger
      metrics: SwarmMetrics
      /** Default: the system's. */
      lookUp?: LookUp
    },
  ) {
    this.#options = options
    this.#identity = dependencies.identity
    this.#log = dependencies.log
    this.#metrics = dependencies.metrics
    this.#exchange = new HoldingsExchange(dependencies)
    this.#pieces = new PieceStreams(dependencies)
    this.#records = new ProviderRecords({
      hasScheduler: () => false,
      ...dependencies,
      put: (digest, signal) => this.#put(digest, signal),
      hasNeighbour: () => this.peerCount > 0,
      now: () => performance.now(),
      pause,
      random: Math.random,
    })
    this.#bootstrap = new Bootstrap(
      { configured: options.bootstrap, names: bootstrapNames(options.bootstrapDns) },
      {
        dialler: {
          peerCount: () => this.peerCount,
          reached: () => this.#reached(),
          dial: (address, signal) => this.#dial(address, signal),
        },
        lookUp: dependencies.lookUp ?? systemLookUp,
        pause,
        random: Math.random,
        log: this.#log,
        metrics: this.#metrics,
      },
    )
  }

  get peerId(): string {
    return this.#identity.peerId
  }

  /** Whether other machines are told an address at which it listens. */
  get isShared(): boolean {
    return this.#node?.getMultiaddrs().some((address) => !isOnlyHere(address)) === true
  }

  /** Addresses at which others reach it, as multiaddrs that end in the peer id. */
  get multiaddrs(): string[] {
    return this.#node?.getMultiaddrs().map((address) => address.toString()) ?? []
  }

  /** How many nodes it is connected to. */
  get peerCount(): number {
    return this.#node?.getPeers().length ?? 0
  }

  /** Provider records of the DHT that it keeps of other nodes. */
  get providerRecords(): number {
    return this.#datastore?.providerCount ?? 0
  }

  async start(): Promise<void> {
    if (this.#node !== undefined) return
    this.#stopping = new AbortController()
    const { host, port } = this.#options
    const listen = listenAddresses(host, port)
    let listening = 0
    const datastore = new BoundedDatastore(this.peerId, Math.random)
    this.#datastore = datastore
    const node = await createLibp2p({
      privateKey: this.#identity.privateKey,
      start: false,
      datastore,
      addresses: { listen, announceFilter: addressesToShare },
      connectionGater: { filterMultiaddrForPeer: async (_peer, address) => this.#isDiallable(address) },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux({ enableKeepAlive: false, streamOptions: { maxStreamWindowSize: MAX_WINDOW_BYTES } })],
      connectionMonitor: { pingInterval: PING_MS },
      peerDiscovery: this.#options.mdns ? [await this.#lanDiscovery()] : [],
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
    node.addEventListener('transport:listening', () => listening++)
    try {
      await this.#exchange.serveOn(node)
      await this.#pieces.serveOn(node)
      await node.start()
      // libp2p is content with one of two families.
      if (listening < listen.length) throw new Error('EADDRINUSE')
    } catch (cause) {
      await node.stop()
      throw listenError('libp2p', host, port, withSystemCode(cause))
    }
    this.#node = node
    node.addEventListener('peer:disconnect', () => this.#bootstrap.lost())
    this.#records.start()
    await this.#bootstrap.start()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#bootstrap.stop()
    this.#records.stop()
    const node = this.#node
    this.#node = undefined
    await node?.stop()
  }

  /** Dials nodes to learn of others; those that do not answer are tried again while this node knows few. */
  bootstrap(addresses: readonly string[]): void {
    this.#bootstrap.told(addresses)
  }

  /**
   * Says in the DHT, in the background, that this node holds some of the blob.
   * @param isFirst no other node has said so: also where there is a scheduler it is to be told before long
   */
  provide(digest: string, isFirst = true): void {
    this.#records.add(digest, isFirst)
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
    { peerId, multiaddrs = [] }: NamedNode,
    blob: { readonly digest: string; readonly size: number },
    wanted: Wanted | undefined,
    signal: AbortSignal,
  ): Promise<Holder | undefined> {
    if (this.#node === undefined) return undefined
    const id = await this.#introduced(this.#node, peerId, multiaddrs, signal)
    return this.#exchange.ask(this.#node, id, blob, wanted, signal)
  }

  /**
   * A stream on which the peer serves pieces, in place of its lane. Rejects when it is not reached in time, or has no
   * stream free.
   * @param multiaddrs where the peer is, by a scheduler's word; the peer store and the DHT may know more
   */
  async openPieceStream(peerId: string, multiaddrs: readonly string[], unwanted: AbortSignal): Promise<Stream> {
    const node = this.#node
    if (node === undefined) throw new Error('libp2p does not run')
    const signal = AbortSignal.any([unwanted, this.#stopping.signal])
    const id = await this.#introduced(node, peerId, multiaddrs, signal)
    return this.#pieces.open(node, id, signal)
  }

  /** Whether an address that somebody gives for a node may lead there. Loopback may where nobody is on another machine. */
  #isDiallable(address: Multiaddr): boolean {
    return !isOnlyHere(address) || this.#node?.getMultiaddrs().every(isOnlyHere) !== false
  }

  /** Has libp2p know where a peer is; returns its id. */
  async #introduced(node: Libp2p, peerId: string, multiaddrs: readonly string[], signal: AbortSignal): Promise<PeerId> {
    const id = peerIdFromString(peerId)
    const known = multiaddrs.filter((text) => text.endsWith(`/p2p/${peerId}`)).flatMap(parsed)
    if (known.length > 0) await node.peerStore.merge(id, { multiaddrs: known }, { signal })
    return id
  }

  async #put(digest: string, signal: AbortSignal): Promise<void> {
    await this.#node?.contentRouting.provide(contentIdOf(digest), { signal: withDeadline(PROVIDE_DEADLINE_MS, signal) })
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

  async #lanDiscovery() {
    const { lanDiscovery } = await import('./mdns.ts')
    return lanDiscovery({
      heard: (addresses) => this.#bootstrap.heard(addresses),
      failed: () => this.#metrics.mdnsFailures.inc(),
      log: this.#log,
    })
  }

  async #reached(): Promise<Set<string>> {
    const node = this.#node
    const addresses = new Set(this.#ownAddresses)
    if (node === undefined) return addresses
    const add = (address: Multiaddr) => addresses.add(withoutPeerId(address.toString()))
    node.getMultiaddrs().forEach(add)
    for (const { remoteAddr } of node.getConnections()) add(remoteAddr)
    for (const id of node.getPeers()) {
      // Whom it knows from an inbound connection has said where it listens.
      const peer = await node.peerStore.get(id).catch(() => undefined)
      for (const { multiaddr } of peer?.addresses ?? []) add(multiaddr)
    }
    return addresses
  }

  async #dial(text: string, signal: AbortSignal): Promise<boolean> {
    const node = this.#node
    if (node === undefined || text.endsWith(`/p2p/${this.peerId}`)) return false
    if (node.getPeers().some((id) => text.endsWith(`/p2p/${id}`))) return false
    try {
      const connection = await node.dial(multiaddr(text), { signal })
      const isSpare = firstOutbound(node.getConnections(connection.remotePeer)) !== connection
      // An address without a peer id may have led to a node that has another one.
      if (isSpare) await connection.close({ signal })
      return !isSpare
    } catch (error) {
      if (!isDialOfSelf(error)) throw error
      if (this.#ownAddresses.size < MAX_OWN_ADDRESSES) this.#ownAddresses.add(withoutPeerId(text))
      return false
    }
  }
}

/** Where to listen: a socket for each family, as libp2p's for IPv6 take no IPv4. */
function listenAddresses(host: string, port: number): string[] {
  const hosts = host === ALL_ADDRESSES ? [ALL_IPV4_ADDRESSES, host] : [host]
  return hosts.map((one) => `/ip${one.includes(':') ? '6' : '4'}/${one}/tcp/${port}`)
}

/** libp2p tells why it can not listen in its message alone: the system's code from there, where `listenError` looks. */
function withSystemCode(error: unknown): unknown {
  const code = error instanceof Error ? /\b(E[A-Z]{4,})\b/.exec(error.message)?.[1] : undefined
  return code === undefined ? error : Object.assign(new Error(code, { cause: error }), { code })
}

/** The address, if it is one: a scheduler checks only what it looks like. */
function parsed(text: string): Multiaddr[] {
  try {
    return [multiaddr(text)]
  } catch {
    return []
  }
}

function withoutPeerId(address: string): string {
  return address.replace(/\/p2p\/[^/]+$/, '')
}

/**
 * Of several connections to one node, the one that is to be kept: the first that libp2p noted, which whoever dialled
 * it found here when its dial ended, whatever other dials are under way. Only those that this node opened count: were
 * the other end's to count too, both ends could close the connection that the other keeps.
 */
function firstOutbound(connections: readonly Connection[]): Connection | undefined {
  return connections.find(({ direction, status }) => direction === 'outbound' && status === 'open')
}

/** Whether libp2p found at the other end of a connection that it is this node. It has no code for that. */
function isDialOfSelf(error: unknown): boolean {
  return error instanceof Error && error.name === 'InvalidPeerIdError' && error.message.includes('dial self')
}
