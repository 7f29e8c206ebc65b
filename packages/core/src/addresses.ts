import { BlockList, createServer, isIP } from 'node:net'
import { systemErrorCode } from './errors.ts'

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

/** Unspecified and link-local. */
const ELSEWHERE_NOWHERE = new BlockList()
ELSEWHERE_NOWHERE.addSubnet('0.0.0.0', 8, 'ipv4')
ELSEWHERE_NOWHERE.addSubnet('169.254.0.0', 16, 'ipv4')
ELSEWHERE_NOWHERE.addAddress('::', 'ipv6')
ELSEWHERE_NOWHERE.addSubnet('fe80::', 10, 'ipv6')

/** All addresses of both families, as an address to listen on. */
export const ALL_ADDRESSES = '::'
/** The same of IPv4 alone. */
export const ALL_IPV4_ADDRESSES = '0.0.0.0'

/** Whether a host is this machine by itself: a loopback address, also as IPv4 in IPv6, or `localhost`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || isIn(LOOPBACK, host)
}

/**
 * Whether a host means nothing, or another machine, to who is elsewhere: loopback, unspecified (`0.0.0.0`, `::`),
 * link-local. What is a name is looked up by whoever is told it, and counts as of use unless it is `localhost`.
 */
export function isOfThisMachineOnly(host: string): boolean {
  return isLoopback(host) || isIn(ELSEWHERE_NOWHERE, host)
}

/** An IP address as it is most often written: IPv4 that came in IPv6 (`::ffff:10.0.0.1`) as IPv4. */
export function plainAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address) ?? []
  if (high === undefined || low === undefined) return address
  const [h, l] = [Number.parseInt(high, 16), Number.parseInt(low, 16)]
  return [h >> 8, h & 255, l >> 8, l & 255].join('.')
}

/**
 * The address to listen on when `host` is asked for: `0.0.0.0` in place of `::` on a machine without IPv6, else `host`
 * itself. `::` takes IPv4 too.
 */
export async function availableHost(host: string): Promise<string> {
  if (host !== ALL_ADDRESSES) return host
  const server = createServer()
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port: 0 }, resolve)
    })
  } catch (error) {
    const code = systemErrorCode(error)
    return code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL' || code === 'EINVAL' ? ALL_IPV4_ADDRESSES : host
  }
  await new Promise((resolve) => server.close(resolve))
  return host
}

function isIn(list: BlockList, host: string): boolean {
  // The zone of a link-local address (`fe80::1%eth0`) says on which link.
  const address = host.split('%', 1)[0] ?? ''
  const family = isIP(address)
  return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4')
}
