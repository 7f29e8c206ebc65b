import { type LookupAddress, type LookupOptions, lookup as systemLookup } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { OriginError } from './errors.ts'

/** Addresses that only this machine, its link or its cloud's metadata service answers on: never a registry. */
const INTERNAL = new BlockList()
INTERNAL.addSubnet('0.0.0.0', 8, 'ipv4')
INTERNAL.addSubnet('127.0.0.0', 8, 'ipv4')
INTERNAL.addSubnet('169.254.0.0', 16, 'ipv4')
INTERNAL.addSubnet('224.0.0.0', 3, 'ipv4')
INTERNAL.addAddress('::', 'ipv6')
INTERNAL.addAddress('::1', 'ipv6')
INTERNAL.addSubnet('fe80::', 10, 'ipv6')
INTERNAL.addSubnet('ff00::', 8, 'ipv6')
INTERNAL.addAddress('fd00:ec2::254', 'ipv6')

/** Whether a URL's host name is an IP address; `URL` has already turned `0x7f.1` and the like into dotted form. */
export function isIpHost(hostname: string): boolean {
  return isIP(unbracketed(hostname)) !== 0
}

/** Whether a URL's host name is `localhost` or an address that only this machine or its link can mean. */
export function isInternalHost(hostname: string): boolean {
  const host = unbracketed(hostname).replace(/\.$/, '')
  return host === 'localhost' || host.endsWith('.localhost') || isInternalAddress(host)
}

/** Resolves names like `dns.lookup`, and refuses those that lead to this machine or its link. */
export function guardedLookup(lookup: typeof systemLookup = systemLookup): LookupFunction {
  return (hostname, options, callback) => {
    const all: LookupOptions & { all: true } = { ...options, all: true }
    lookup(hostname, all, (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => {
      if (error !== null) return callback(error, [])
      const outside = addresses.filter(({ address }) => !isInternalAddress(address))
      const [first] = outside
      if (first === undefined) return callback(internalNameError(hostname), [])
      if (options.all === true) return callback(null, outside)
      callback(null, first.address, first.family)
    })
  }
}

function internalNameError(hostname: string): OriginError {
  return new OriginError(
    'NOT_ALLOWED',
    `${hostname} resolves to an address of this machine or its link: if it is meant, list the registry with its url in the config`,
    { data: { isRetryable: false } },
  )
}

function isInternalAddress(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && INTERNAL.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** A URL's host name without the brackets around an IPv6 address. */
export function unbracketed(hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
}
