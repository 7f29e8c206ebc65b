import { CoreError, isRegistryHost } from '@shoal/core'
import { isIpHost, isLoopbackHost, isPrivateHost } from './address.ts'
import { OriginError } from './errors.ts'
import { proxyUrl } from './proxies.ts'
import type { OriginClientOptions, OriginSettings } from './service/options.ts'

/** A registry that may be asked: where it is and what it may be sent. */
export interface Endpoint {
  /** Lower-case registry, as the client names it. */
  readonly registry: string
  /** Its path has no slash at the end. */
  readonly base: URL
  readonly isListed: boolean
  /** `Authorization` value of the configured account. */
  readonly basic?: string
  readonly ca?: string
  readonly insecureTls: boolean
  readonly tokenHosts: ReadonlySet<string>
  /** Hosts that it may lead to although their addresses are private, with or without port; see mayBePrivate. */
  readonly privateHosts: ReadonlySet<string>
  /** The proxy for all that is done on its behalf, or none; undefined: as the node's rules say. */
  readonly proxy?: URL | 'direct'
  /**
   * The `ns` parameter, by which a cache of several registries knows which one is meant: containerd sends it too, and
   * others ignore it. Undefined when the registry itself is asked.
   */
  readonly namespace?: string
}

const DOCKER_HUB = 'https://registry-1.docker.io'
const DOCKER_HUB_NAMES: ReadonlySet<string> = new Set(['docker.io', 'index.docker.io'])
const DOCKER_HUB_TOKEN_HOST = 'auth.docker.io'

/** Which registries may be asked, and where they are. */
export class Endpoints {
  readonly #listed = new Map<string, Endpoint>()
  readonly #allowUnlisted: boolean
  readonly #configKey: string

  /** Throws CoreError `CONFIG_INVALID` for settings that make no sense. */
  constructor({ origins, allowUnlisted, configKey = 'origins' }: Omit<OriginClientOptions, 'limits'>) {
    this.#allowUnlisted = allowUnlisted
    this.#configKey = configKey
    for (const [registry, settings] of Object.entries(origins)) {
      try {
        if (!isRegistryHost(registry)) throw new Error('write the key as host or host:port')
        const name = registry.toLowerCase()
        this.#listed.set(name, listedEndpoint(name, settings))
      } catch (cause) {
        throw new CoreError('CONFIG_INVALID', `${configKey}.${registry.slice(0, 261)}: ${(cause as Error).message}`)
      }
    }
  }

  /** Where `registry` is; throws OriginError `NOT_ALLOWED`. */
  resolve(registry: string): Endpoint {
    const name = registry.toLowerCase()
    const listed = this.#listed.get(name)
    if (listed !== undefined) return listed
    const refuse = (why: string) => notAllowed(name.slice(0, 261), why, this.#configKey)
    // `1.2.3.4.5` is a name to the one and a broken address to the other.
    if (!isRegistryHost(name) || !URL.canParse(defaultUrl(name))) throw refuse('it is not host or host:port')
    if (!this.#allowUnlisted) throw refuse('only listed registries may be asked')
    const base = baseUrl(defaultUrl(name))
    if (isIpHost(base.hostname)) throw refuse('it is an IP address')
    if (isPrivateHost(base.hostname)) throw refuse('it is this machine')
    return {
      registry: name,
      base,
      isListed: false,
      insecureTls: false,
      tokenHosts: defaultTokenHosts(name),
      privateHosts: new Set(),
    }
  }

  /** The registry at a URL that `from` redirects to: the listed one there, else one that is asked without credentials. */
  at(url: URL, from: Endpoint): Endpoint {
    const listed = [...this.#listed.values()].find(({ base }) => base.origin === url.origin)
    if (listed !== undefined) return listed
    const { basic: _, namespace: __, ...rules } = from
    const base = new URL(url.origin)
    return { ...rules, registry: url.host, base, isListed: false, insecureTls: false, tokenHosts: new Set() }
  }
}

/**
 * Whether requests on behalf of `endpoint` may go to `url` although its address is one that the internet does not route:
 * else whoever answers for a registry could have this node read what only its own network may. A listed registry is
 * where its operator says, and leads to the hosts that are listed with it; on this machine, to any port of it.
 */
export function mayBePrivate({ base, privateHosts }: Endpoint, url: URL): boolean {
  if (privateHosts.has(url.hostname) || privateHosts.has(url.host)) return true
  return privateHosts.size > 0 && isLoopbackHost(base.hostname) && isLoopbackHost(url.hostname)
}

/** Throws what is wrong with the settings. */
function listedEndpoint(registry: string, settings: OriginSettings): Endpoint {
  const { username, password } = settings
  if ((username === undefined) !== (password === undefined)) {
    throw new Error('give username and password together, or neither')
  }
  if (username?.includes(':')) throw new Error('a username can not hold a colon')
  const base = baseUrl(settings.url ?? defaultUrl(registry))
  const tokenHosts = lowerCase(settings.tokenHosts)
  return {
    registry,
    base,
    isListed: true,
    insecureTls: settings.insecureTls ?? false,
    tokenHosts: new Set([...defaultTokenHosts(registry), ...tokenHosts]),
    privateHosts: new Set([base.hostname, ...tokenHosts, ...lowerCase(settings.redirectHosts)]),
    ...(username === undefined
      ? {}
      : { basic: `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}` }),
    ...(settings.ca === undefined ? {} : { ca: settings.ca }),
    ...(settings.proxy === undefined ? {} : { proxy: ownProxy(settings.proxy, settings.proxyCredentials) }),
    ...(base.host === registry || base.href === `${DOCKER_HUB}/` ? {} : { namespace: registry }),
  }
}

function ownProxy(text: string, credentials: string | undefined): URL | 'direct' {
  if (text === 'direct') return text
  const url = proxyUrl(text, 'its proxy')
  if (url.username !== '' || url.password !== '') {
    throw new Error('its proxy must not hold credentials: use proxyCredentialsFile')
  }
  const colon = credentials?.indexOf(':') ?? -1
  if (credentials !== undefined && colon < 1) throw new Error('its proxyCredentialsFile must hold user:password')
  url.username = encodeURIComponent(credentials?.slice(0, colon) ?? '')
  url.password = encodeURIComponent(credentials?.slice(colon + 1) ?? '')
  return url
}

function lowerCase(hosts: readonly string[] = []): string[] {
  return hosts.map((host) => host.toLowerCase())
}

function defaultUrl(registry: string): string {
  return DOCKER_HUB_NAMES.has(registry) ? DOCKER_HUB : `https://${registry}`
}

function defaultTokenHosts(registry: string): ReadonlySet<string> {
  return new Set(DOCKER_HUB_NAMES.has(registry) ? [DOCKER_HUB_TOKEN_HOST] : [])
}

/** Throws what is wrong with it. */
function baseUrl(text: string): URL {
  if (!URL.canParse(text)) throw new Error('its url is not a URL')
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new Error('its url must be http or https')
  if (url.username !== '' || url.password !== '') {
    throw new Error('its url must not hold credentials: use username and passwordFile')
  }
  if (url.search !== '' || url.hash !== '') throw new Error('its url must have no query and no fragment')
  url.pathname = url.pathname.replace(/\/+$/, '')
  return url
}

function notAllowed(registry: string, why: string, configKey: string): OriginError {
  return new OriginError(
    'NOT_ALLOWED',
    `the registry ${registry} is not asked: ${why}. To allow it, list it in the config: ${configKey}: {"${registry}": {url: "https://${registry}"}}`,
    { data: { registry, isRetryable: false } },
  )
}
