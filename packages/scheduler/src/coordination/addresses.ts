import { BlockList, isIP } from 'node:net'

/** Who can use a host: every machine, only the one that it is of, or none, since it needs more than an address. */
export type HostScope = 'everywhere' | 'loopback' | 'nowhere'

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

/** Unspecified, link-local, multicast and reserved addresses (RFC 6890, RFC 4291). */
const NOWHERE = new BlockList()
NOWHERE.addSubnet('0.0.0.0', 8, 'ipv4')
NOWHERE.addSubnet('169.254.0.0', 16, 'ipv4')
NOWHERE.addSubnet('224.0.0.0', 3, 'ipv4')
NOWHERE.addAddress('::', 'ipv6')
NOWHERE.addSubnet('fe80::', 10, 'ipv6')
NOWHERE.addSubnet('ff00::', 8, 'ipv6')

/** Numbers that resolvers take for an IPv4 address, though it is not written as one: `127.1`, `2130706433`, `0x7f.1`. */
const ODD_IPV4 = /^(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}\.?$/i
const HOST_OF_MULTIADDR = /^\/(?:ip4|ip6|dns|dns4|dns6|dnsaddr)\/([^/]+)/

/** @param host a name, or an address with or without brackets */
export function scopeOf(host: string): HostScope {
  const text = host.replace(/^\[(.*)\]$/, '$1')
  const version = isIP(text)
  if (version === 0) {
    if (/^(.*\.)?localhost\.?$/i.test(text)) return 'loopback'
    return ODD_IPV4.test(text) || text.includes('%') ? 'nowhere' : 'everywhere'
  }
  // An address of a zone (`fe80::1%eth0`) is of one machine's interface.
  if (text.includes('%')) return 'nowhere'
  const family = version === 4 ? 'ipv4' : 'ipv6'
  if (LOOPBACK.check(text, family)) return 'loopback'
  return NOWHERE.check(text, family) ? 'nowhere' : 'everywhere'
}

/** The host of a multiaddr; undefined: it names none first, or a relay's. */
export function hostOfMultiaddr(multiaddr: string): string | undefined {
  return multiaddr.includes('/p2p-circuit') ? undefined : HOST_OF_MULTIADDR.exec(multiaddr)?.[1]
}

/** Who can use the address. What cannot be told is left to those who dial. */
export function scopeOfMultiaddr(multiaddr: string): HostScope {
  const host = HOST_OF_MULTIADDR.exec(multiaddr)?.[1]
  if (host !== undefined) return scopeOf(host)
  return multiaddr.startsWith('/ip6zone/') ? 'nowhere' : 'everywhere'
}

/** The host in `host:port`, `[host]:port`, without the prefix of an IPv4 address on an IPv6 socket. */
export function hostOf(address: string): string {
  const host = address.slice(0, Math.max(0, address.lastIndexOf(':')))
  return host.replace(/^\[(.*)\]$/, '$1').replace(/^::ffff:(?=\d+\.)/, '')
}
