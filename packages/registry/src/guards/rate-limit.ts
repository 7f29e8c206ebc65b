import { BlockList, isIP } from 'node:net'
import rateLimit from '@fastify/rate-limit'
import { CoreError } from '@shoal/core'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { RegistryError } from '../errors.ts'
import type { RateLimitOptions } from './options.ts'

const WINDOW_MS = 60_000
/** Addresses that are counted at a time; the one that was not seen for longest is forgotten. */
const MAX_CLIENTS = 50_000
/** What the plugin would add; clients of registries know `Retry-After` alone. */
const NO_HEADERS = { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false }
const READS: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/**
 * Refuses clients that ask for too much, by the address of their connection: whoever says that it asks for somebody else
 * could say anything.
 */
export class RateLimit {
  readonly #options: RateLimitOptions
  readonly #exempt: BlockList

  /** Throws CoreError `CONFIG_INVALID`. */
  constructor(options: RateLimitOptions) {
    this.#options = options
    this.#exempt = networksOf(options.exempt)
  }

  /** Has it watch over the routes that are added to `server` afterwards. */
  async addTo(server: FastifyInstance): Promise<void> {
    if (this.#options.readsPerMinute === 0 && this.#options.writesPerMinute === 0) return
    await server.register(rateLimit, {
      timeWindow: WINDOW_MS,
      cache: MAX_CLIENTS,
      max: (request) => this.#limitOf(request),
      keyGenerator: (request) => `${READS.has(request.method) ? 'reads' : 'writes'} ${addressOf(request)}`,
      allowList: (request) => this.#limitOf(request) === 0 || contains(this.#exempt, addressOf(request)),
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

function addressOf({ socket }: FastifyRequest): string {
  return socket.remoteAddress ?? ''
}

/** Throws CoreError `CONFIG_INVALID`. */
function networksOf(exempt: readonly string[]): BlockList {
  const networks = new BlockList()
  for (const text of exempt) {
    const [address = '', bits, ...more] = text.split('/')
    const version = isIP(address)
    const length = bits === undefined ? (version === 4 ? 32 : 128) : /^\d{1,3}$/.test(bits) ? Number(bits) : -1
    if (version === 0 || more.length > 0 || length < 0 || length > (version === 4 ? 32 : 128)) {
      throw new CoreError(
        'CONFIG_INVALID',
        `rateLimit.exempt: "${text}" is neither an address nor a network like 10.0.0.0/8`,
      )
    }
    networks.addSubnet(address, length, version === 4 ? 'ipv4' : 'ipv6')
  }
  return networks
}

function contains(networks: BlockList, address: string): boolean {
  // What comes by IPv4 to a socket for both is named as IPv6.
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '')
  const version = isIP(plain)
  return version !== 0 && networks.check(plain, version === 4 ? 'ipv4' : 'ipv6')
}
