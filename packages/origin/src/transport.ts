import type { lookup as systemLookup } from 'node:dns'
import type { SharedBucket } from '@shoal/core'
import { isLoopbackHost } from './address.ts'
import { ConnectionPools } from './connection-pools.ts'
import { type Endpoint, mayBePrivate } from './endpoint.ts'
import type { Exchange, Receiver } from './exchange.ts'
import { HttpExchange } from './http-exchange.ts'
import { LruMap } from './lru.ts'
import { ProxiedNames } from './proxied-names.ts'
import { Proxies, type ProxyRules } from './proxies.ts'
import type { OriginLimits } from './service/options.ts'

const MAX_LENIENT = 64
const LENIENT_MS = 600_000

/** What a Transport may be given: by tests, to count, and to keep to a limit. */
export interface TransportDependencies {
  readonly lookup?: typeof systemLookup
  /** Told of every body chunk's length. */
  readonly onBytes?: (count: number) => void
  /** Bodies without a total deadline, which are those of blobs, come no faster than this. */
  readonly limit?: SharedBucket
  /** Left out: none. */
  readonly proxies?: ProxyRules
}

/**
 * Connections to origins and the hosts they point to: pooled per host, HTTP/1.1 (several ranges at once each get a
 * TCP window of their own), kept alive. Answers go to the receiver chunk by chunk, without promises. Node's own HTTP
 * client: it is there anyway, where undici took 9 MiB in each thread that loaded it.
 */
export class Transport {
  readonly #limits: OriginLimits
  readonly #pools: ConnectionPools
  readonly #onBytes: (count: number) => void
  readonly #limit: SharedBucket | undefined
  readonly #proxies: Proxies
  readonly #names: ProxiedNames
  /** Hosts whose answers Node's parser refused lately, and until when they are not tried with it again. */
  readonly #lenientUntilMs = new LruMap<number>(MAX_LENIENT)
  #isClosed = false

  constructor(limits: OriginLimits, dependencies: TransportDependencies = {}) {
    this.#limits = limits
    this.#pools = new ConnectionPools(limits.connections, dependencies.lookup)
    this.#onBytes = dependencies.onBytes ?? (() => {})
    this.#limit = dependencies.limit
    this.#proxies = new Proxies(dependencies.proxies ?? {})
    this.#names = new ProxiedNames(dependencies.lookup)
  }

  /** Whether `close` was called. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Sends one request on behalf of `endpoint`; resolves when the body has ended or the receiver has enough. */
  send(endpoint: Endpoint, exchange: Exchange, receiver: Receiver): Promise<void> {
    if (this.#isClosed) return Promise.reject(new Error('the origin client is closed'))
    if (exchange.signal.aborted) return Promise.reject(exchange.signal.reason)
    const proxy = this.proxyFor(endpoint, exchange.url)
    if (proxy === undefined || mayBePrivate(endpoint, exchange.url))
      return this.#send(endpoint, exchange, receiver, proxy)
    return this.#names.check(exchange.url.hostname).then(() => this.#send(endpoint, exchange, receiver, proxy))
  }

  /** The proxy that a request goes through; undefined: none. */
  proxyFor(endpoint: Endpoint, url: URL): URL | undefined {
    if (endpoint.proxy === undefined) return this.#proxies.of(url)
    return endpoint.proxy === 'direct' || isLoopbackHost(url.hostname) ? undefined : endpoint.proxy
  }

  #send(endpoint: Endpoint, exchange: Exchange, receiver: Receiver, proxy: URL | undefined): Promise<void> {
    const { url, totalTimeoutMs } = exchange
    return new HttpExchange(exchange, receiver, {
      agent: this.#pools.agentFor(endpoint, url, { proxy }),
      isTunnel: proxy !== undefined && url.protocol === 'https:',
      lenientAgent: () => this.#pools.agentFor(endpoint, url, { proxy, isLenient: true }),
      isLenient: performance.now() < (this.#lenientUntilMs.get(url.host) ?? 0),
      onLenient: () => this.#lenientUntilMs.set(url.host, performance.now() + LENIENT_MS),
      limits: this.#limits,
      onBytes: this.#onBytes,
      limit: totalTimeoutMs === undefined ? this.#limit : undefined,
    }).done
  }

  /** Breaks off what is under way and closes all connections. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#pools.destroy()
  }
}
