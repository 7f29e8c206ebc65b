import { BlockList, isIP } from 'node:net'
import { CoreError } from '@shoal/core'
import { isLoopbackHost, unbracketed } from './address.ts'

/** Through which proxies requests go; plain data. */
export interface ProxyRules {
  /** URL of the proxy for requests over https. */
  readonly https?: string
  /** URL of the proxy for requests over http. */
  readonly http?: string
  /** Hosts that are asked directly, as `NO_PROXY` has them. */
  readonly none?: string
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The rules in `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, or the same in lower case: read as Go programs read them, so
 * that nodes go the way that container runtimes go.
 * @throws CoreError `CONFIG_INVALID` for a proxy that can not be used
 */
export function proxyRules(environment: Environment): ProxyRules {
  const value = (name: string) => {
    const key = [name, name.toLowerCase()].find((each) => environment[each])
    return key === undefined ? undefined : { key, text: environment[key] ?? '' }
  }
  const proxy = (name: string) => {
    const found = value(name)
    return found && proxyUrl(found.text, found.key).href
  }
  const [https, http, none] = [proxy('HTTPS_PROXY'), proxy('HTTP_PROXY'), value('NO_PROXY')?.text]
  return {
    ...(https === undefined ? {} : { https }),
    ...(http === undefined ? {} : { http }),
    ...(none === undefined ? {} : { none }),
  }
}

/**
 * Reads a proxy's URL; `host:port` means http.
 * @throws CoreError `CONFIG_INVALID`, without the URL, which may hold a password
 */
export function proxyUrl(text: string, key: string): URL {
  const full = text.includes('://') ? text : `http://${text}`
  const url = URL.canParse(full) ? new URL(full) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.hostname === '') {
    throw new CoreError(
      'CONFIG_INVALID',
      `${key} is no proxy that can be used: write http://host:port, or https://host:port, or leave it out`,
    )
  }
  url.pathname = ''
  url.search = ''
  url.hash = ''
  return url
}

/** Finds the proxy for a request. Source of the rules: Go's golang.org/x/net/http/httpproxy. */
export class Proxies {
  readonly #byProtocol: ReadonlyMap<string, URL>
  readonly #direct: readonly ((url: URL) => boolean)[]

  constructor({ https, http, none = '' }: ProxyRules) {
    const proxies: [string, string | undefined][] = [
      ['https:', https],
      ['http:', http],
    ]
    this.#byProtocol = new Map(
      proxies.flatMap(([protocol, text]) => (text === undefined ? [] : [[protocol, new URL(text)]])),
    )
    this.#direct = none
      .split(',')
      .map((entry) => entry.trim().toLowerCase())
      .filter((entry) => entry !== '')
      .map(matcher)
  }

  /** Undefined: it is sent directly, as everything to this machine is. */
  of(url: URL): URL | undefined {
    const proxy = this.#byProtocol.get(url.protocol)
    if (proxy === undefined || isLoopbackHost(url.hostname)) return undefined
    return this.#direct.some((matches) => matches(url)) ? undefined : proxy
  }
}

/** What one entry of `NO_PROXY` matches: all, a network, an address, a name and those below it, each with or without port. */
function matcher(entry: string): (url: URL) => boolean {
  if (entry === '*') return () => true
  const network = networkOf(entry)
  if (network !== undefined) return ({ hostname }) => isIn(network, unbracketed(hostname))
  const [, host = '', port] = /^(\[[^\]]*\]|[^:]*(?::[^:]*){2,}|[^:]*)(?::([0-9]+))?$/.exec(entry) ?? []
  const name = unbracketed(host).replace(/\.$/, '')
  const isPort = (url: URL) => port === undefined || port === (url.port || (url.protocol === 'https:' ? '443' : '80'))
  if (isIP(name) !== 0) return (url) => isPort(url) && isSameAddress(unbracketed(url.hostname), name)
  const suffix = name.replace(/^\*?\.?/, '.')
  return (url) => {
    const hostname = url.hostname.replace(/\.$/, '')
    return isPort(url) && (hostname.endsWith(suffix) || hostname === name)
  }
}

function networkOf(entry: string): BlockList | undefined {
  const [, address = '', prefix] = /^([0-9a-f.:]+)\/([0-9]{1,3})$/.exec(entry) ?? []
  const family = isIP(address)
  const bits = Number(prefix)
  if (family === 0 || bits > (family === 6 ? 128 : 32)) return undefined
  const list = new BlockList()
  list.addSubnet(address, bits, family === 6 ? 'ipv6' : 'ipv4')
  return list
}

function isIn(network: BlockList, address: string): boolean {
  const family = isIP(address)
  return family !== 0 && network.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** IPv6 addresses have several spellings. */
function isSameAddress(a: string, b: string): boolean {
  const family = isIP(b)
  const list = new BlockList()
  list.addAddress(b, family === 6 ? 'ipv6' : 'ipv4')
  return isIP(a) === family && isIn(list, a)
}
