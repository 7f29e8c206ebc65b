import type { Hello } from '@shoal/proto'
import { hostOf, hostOfMultiaddr, scopeOf, scopeOfMultiaddr } from './addresses.ts'
import { violation } from './violation.ts'

const SET_IT = 'set lane.advertiseHost of that node to a name or an address of its machine'

/** Where a node's lane and libp2p are, by whom it is reached. */
export interface Reach {
  /** Whether the node's stream comes from this very machine: only such nodes can use loopback addresses of each other. */
  readonly isLocal: boolean
  /** Host of its lane for nodes on other machines; empty: none is known. */
  readonly laneHost: string
  /** The same for nodes on this machine, if it is on it too. */
  readonly localLaneHost: string
  /** libp2p addresses that other machines can use, and those that nodes on this machine can, if it is on it too. */
  readonly multiaddrs: readonly string[]
  readonly localMultiaddrs: readonly string[]
}

/**
 * What is told of a node to whom. Loopback addresses mean another host to each host: they are told on this machine only.
 * @param address where the stream comes from, `host:port`
 * @throws SchedulerError `PROTOCOL_VIOLATION` for a lane host that others cannot use
 */
export function reachOf({ laneHost, multiaddrs }: Hello, address: string): Reach {
  const from = hostOf(address)
  const isLocal = scopeOf(from) === 'loopback'
  const usable = multiaddrs.filter((text) => scopeOfMultiaddr(text) === 'everywhere')
  const localMultiaddrs = isLocal ? multiaddrs.filter((text) => scopeOfMultiaddr(text) !== 'nowhere') : usable
  const addresses = { isLocal, multiaddrs: usable, localMultiaddrs }
  if (laneHost !== '') {
    const scope = scopeOf(laneHost)
    if (scope === 'nowhere') throw violation(`hello.lane_host ${laneHost} leads nowhere from other machines; ${SET_IT}`)
    if (scope === 'loopback' && !isLocal) {
      throw violation(
        `hello.lane_host ${laneHost} is a loopback address, and the node is on another machine; ${SET_IT}`,
      )
    }
    return { ...addresses, laneHost: scope === 'loopback' ? '' : laneHost, localLaneHost: laneHost }
  }
  if (scopeOf(from) === 'everywhere') return { ...addresses, laneHost: from, localLaneHost: from }
  const hosts = usable.map(hostOfMultiaddr).filter((host) => host !== undefined)
  return { ...addresses, laneHost: hosts[0] ?? '', localLaneHost: isLocal ? from : (hosts[0] ?? '') }
}
