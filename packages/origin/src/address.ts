import { type LookupAddress, type LookupOptions, lookup as systemLookup } from 'node:dns'
import { BlockList, isIP, isIPv4, type LookupFunction } from 'node:net'
import { OriginError } from './errors.ts'

/** IPv4 that the internet does not route. Source: IANA IPv4 Special-Purpose Address Registry; multicast and reserved. */
const PRIVATE_V4 = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  PRIVATE_V4.addSubnet(network, prefix, 'ipv4')
}

/** All that is routed of IPv6 lies in here. Source: IANA IPv6 Address Space. */
const GLOBAL_V6 = new BlockList()
GLOBAL_V6.addSubnet('2000::', 3, 'ipv6')

/** What of it is not, or carries IPv4 inside. Source: IANA IPv6 Special-Purpose Address Registry. */
const SPECIAL_V6 = new BlockList()
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  SPECIAL_V6.addSubnet(network, prefix, 'ipv6')
}

/** IPv4-mapped, and the well-known prefix of NAT64: the last four bytes are the IPv4 address that is meant (RFC 6052). */
const EMBEDDING_V6 = ['0000:0000:0000:0000:0000:ffff', '0064:ff9b:0000:0000:0000:0000']

/** Whether a URL's host name is an IP address; `URL` has already turned `0x7f.1` and the like into dotted form. */
export function isIpHost(hostname: string): boolean {
  return isIP(unbracketed(hostname)) !== 0
}

/**
 * Whether a URL's host name is `localhost`, or an address that the internet does not route: of this machine, its link,
 * its cloud's metadata service, or a private network. Names that resolve to such an address are guardedLookup's business.
 */
export function isPrivateHost(hostname: string): boolean {
  return isLoopbackName(hostname) || isPrivateAddress(unbracketed(hostname))
}

/** Whether a URL's host name is `localhost` or an address of this machine's own network interface. */
export function isLoopbackHost(hostname: string): boolean {
  const host = unbracketed(hostname)
  return isLoopbackName(hostname) || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}

/** Resolves names like `dns.lookup`, and refuses those that lead to private addresses only. */
export function guardedLookup(lookup: typeof systemLookup = systemLookup): LookupFunction {
  return (hostname, options, callback) => {
    const all: LookupOptions & { all: true } = { ...options, all: true }
    lookup(hostname, all, (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => {
      if (error !== null) return callback(error, [])
      const outside = addresses.filter(({ address }) => !isPrivateAddress(address))
      const [first] = outside
      if (first === undefined) return callback(privateNameError(hostname), [])
      if (options.all === true) return callback(null, outside)
      callback(null, first.address, first.family)
    })
  }
}

function privateNameError(hostname: string): OriginError {
  return new OriginError(
    'NOT_ALLOWED',
    `${hostname} resolves to a private address, or one of this machine: if it is meant, list the registry with its url in the config, or, where a listed registry leads there, the host in its redirectHosts or tokenHosts`,
    { data: { isRetryable: false } },
  )
}

/** Whether an IP address is one that the internet does not route. */
export function isPrivateAddress(address: string): boolean {
  // Zones (`fe80::1%eth0`) belong to link-local addresses.
  const [bare = ''] = address.split('%')
  const family = isIP(bare)
  if (family === 0) return false
  if (family === 4) return PRIVATE_V4.check(bare, 'ipv4')
  const embedded = embeddedV4(bare)
  if (embedded !== undefined) return PRIVATE_V4.check(embedded, 'ipv4')
  return !GLOBAL_V6.check(bare, 'ipv6') || SPECIAL_V6.check(bare, 'ipv6')
}

/** The IPv4 address that an IPv6 one stands for; undefined for any other. */
function embeddedV4(address: string): string | undefined {
  const groups = groupsOf(address)
  if (!EMBEDDING_V6.includes(groups.slice(0, 6).join(':'))) return undefined
  return Buffer.from(groups.slice(6).join(''), 'hex').join('.')
}

/** The eight groups of an IPv6 address, four hex digits each. */
function groupsOf(address: string): string[] {
  // `URL` writes a last part in dotted form as hex, and compresses the same way always.
  const compressed = unbracketed(new URL(`http://[${address}]`).hostname)
  const [head = '', tail] = compressed.split('::')
  const before = head.split(':').filter((group) => group !== '')
  const after = (tail ?? '').split(':').filter((group) => group !== '')
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0')
  return [...before, ...zeros, ...after].map((group) => group.padStart(4, '0'))
}

function isLoopbackName(hostname: string): boolean {
  const host = hostname.replace(/\.$/, '')
  return host === 'localhost' || host.endsWith('.localhost')
}

/** A URL's host name without the brackets around an IPv6 address. */
export function unbracketed(hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
}
