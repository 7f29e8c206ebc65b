import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { RegistryError } from '../errors.ts'
import { ipOf } from '../http/caller.ts'
import { Networks } from '../http/networks.ts'
import type { RateLimitOptions } from './options.ts'

const WINDOW_MS = 60_000
/** Addresses that are counted at a time; the one that was not seen for longest is forgotten. */
const MAX_CLIENTS = 50_000
/** What the plugin would add; clients of registries know `Retry-After` alone. */
const NO_HEADERS = { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false }
const READS: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/**
 * Refuses clients that ask for too much, by their address: of those who say that they ask for somebody else, only trusted
 * proxies are believed.
 */
export class RateLimit {
  readonly #options: RateLimitOptions
  readonly #exempt: Networks

  /** Throws CoreError `CONFIG_INVALID`. */
  constructor(options: RateLimitOptions) {
    this.#options = options
    this.#exempt = new Networks(options.exempt, 'rateLimit.exempt')
  }

  /** Has it watch over the routes that are added to `server` afterwards. */
  async addTo(server: FastifyInstance): Promise<void> {
    if (this.#options.readsPerMinute === 0 && this.#options.writesPerMinute === 0) return
    await server.register(rateLimit, {
      timeWindow: WINDOW_MS,
      cache: MAX_CLIENTS,
      max: (request) => this.#limitOf(request),
      keyGenerator: (request) => `${READS.has(request.method) ? 'reads' : 'writes'} ${ipOf(request)}`,
      allowList: (request) => this.#limitOf(request) === 0 || this.#exempt.has(ipOf(request)),
      addHeaders: NO_HEADERS,
      addHeadersOnExceeding: NO_HEADERS,
      errorResponseBuilder: (_request, { max, ttl }) =>
        new RegistryError('TOOMANYREQUESTS', `more than ${max} requests a minute: slow down, and go on later`, {
          headers: { 'retry-after': String(Math.max(1, Math.ceil(ttl / 1000))) },
        }),
    })
  }

  #limitOf({ method }: FastifyRequest): number {
    return READS.has(method) ? this.#options.readsPerMinute : this.#options.writesPerMinute
  }
}
