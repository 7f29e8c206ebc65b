import { lookup as systemLookup } from 'node:dns'
import { Agent as HttpAgent } from 'node:http'
import { type AgentOptions, Agent as HttpsAgent } from 'node:https'
import type { LookupFunction } from 'node:net'
import { getCACertificates } from 'node:tls'
import { guardedLookup } from './address.ts'
import { type Endpoint, mayBePrivate } from './endpoint.ts'
import { LenientHttpAgent, LenientHttpsAgent } from './lenient-agent.ts'

/** An idle connection is kept for this long, or for as long as its server says that it keeps it. */
const KEEP_ALIVE_MS = 30_000

/** How a request gets to its host. */
export interface Way {
  /** For answers that Node's parser refuses: a connection for each request. */
  readonly isLenient?: boolean
  /** The proxy to go through, which then looks the host up. */
  readonly proxy?: URL | undefined
}

/** Pools of connections, one for each set of rules on what a connection may lead to and whom it trusts. */
export class ConnectionPools {
  readonly #connections: number
  readonly #idleMs: number
  readonly #lookup: typeof systemLookup
  readonly #agents = new Map<string, HttpAgent>()

  /**
   * @param connections most connections of a pool to one host
   * @param idleMs an idle connection is closed after this
   */
  constructor(connections: number, lookup: typeof systemLookup = systemLookup, idleMs = KEEP_ALIVE_MS) {
    this.#connections = connections
    this.#idleMs = idleMs
    this.#lookup = lookup
  }

  /**
   * Every host is looked up with the guard against names that lead into the private network, but for those that are
   * listed with the origin.
   */
  agentFor(endpoint: Endpoint, url: URL, { isLenient = false, proxy }: Way = {}): HttpAgent {
    const isOwnHost = url.hostname === endpoint.base.hostname
    const isGuarded = !mayBePrivate(endpoint, url)
    const isInsecure = endpoint.insecureTls && isOwnHost
    const key = `${url.protocol} ${isLenient} ${isGuarded} ${isInsecure} ${endpoint.ca ?? ''} ${proxy?.href}`
    const known = this.#agents.get(key)
    if (known !== undefined) return known
    const options: AgentOptions = {
      keepAlive: !isLenient,
      // Of idle connections; one in use has the deadlines of its exchange.
      ...(isLenient ? {} : { timeout: this.#idleMs }),
      maxSockets: this.#connections,
      maxFreeSockets: this.#connections,
      scheduling: 'lifo',
      lookup: isGuarded ? guardedLookup(this.#lookup) : (this.#lookup as LookupFunction),
      ...(proxy === undefined ? {} : { proxyEnv: { HTTP_PROXY: proxy.href, HTTPS_PROXY: proxy.href } }),
      ...(isInsecure ? { rejectUnauthorized: false } : {}),
      ...(endpoint.ca === undefined ? {} : { ca: [...getCACertificates('default'), endpoint.ca] }),
    }
    const [Http, Https] = isLenient ? [LenientHttpAgent, LenientHttpsAgent] : [HttpAgent, HttpsAgent]
    const agent = url.protocol === 'https:' ? new Https(options) : new Http(options)
    this.#agents.set(key, agent)
    return agent
  }

  /** Closes all connections, also those in use. */
  destroy(): void {
    for (const agent of this.#agents.values()) agent.destroy()
    this.#agents.clear()
  }
}
