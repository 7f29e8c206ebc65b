import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'

/** All IPv4 and IPv6 addresses of a host. Rejects when there are none, or nobody can be asked. */
export type LookUp = (host: string) => Promise<readonly string[]>

/**
 * Asks the system, which knows the search domains and /etc/hosts: names of Kubernetes services are short for those in
 * the cluster's domain. It can not be told to stop. A look-up holds a thread of Node's pool meanwhile, of which libuv
 * gives look-ups half at the most.
 */
export const systemLookUp: LookUp = async (host) => (await lookup(host, { all: true })).map(({ address }) => address)

/** The multiaddrs of a TCP port at these addresses, each once; without those that are of one interface (`%eth0`). */
export function tcpMultiaddrs(addresses: readonly string[], port: number): string[] {
  const plain = addresses.filter((address) => isIP(address) !== 0 && !address.includes('%'))
  return [...new Set(plain)].map((address) => `/ip${isIP(address)}/${address}/tcp/${port}`)
}
