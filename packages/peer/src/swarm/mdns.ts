import type { ComponentLogger, Logger as Libp2pLogger, PeerDiscovery } from '@libp2p/interface'
import { type MulticastDNSComponents, mdns } from '@libp2p/mdns'
import type { Logger } from '@shoal/core'

/** Our own, so that other programs that speak libp2p (their tag is `_p2p._udp.local`) are neither found nor bothered. */
const SERVICE_TAG = '_shoal._udp.local'
/** Each question is answered by every node, to all. A node asks at its start, so asking again is for what was lost. */
const QUESTION_INTERVAL_MS = 30_000
/** Anybody on the LAN may answer; names, and what is not TCP, are not to be dialled for that. */
const DIALLABLE = /^\/ip[46]\/[^/]+\/tcp\/\d+$/

/**
 * Has nodes of the same LAN find each other by multicast DNS. A module of its own as it is loaded only when it is on.
 * Source: libp2p specs, discovery/mdns.md.
 * @param heard is given addresses that end in a peer id
 * @param failed is told of each message that could not be sent, received or understood
 */
export function lanDiscovery(dependencies: {
  heard: (addresses: readonly string[]) => void
  failed: () => void
  log: Logger
}): (components: MulticastDNSComponents) => PeerDiscovery {
  const { heard, failed, log } = dependencies
  const logger = errorsTo((error) => {
    failed()
    log.debug({ err: error }, 'multicast DNS: a message could not be sent, received or understood')
  })
  return ({ addressManager }) => {
    const discovery = mdns({ serviceTag: SERVICE_TAG, interval: QUESTION_INTERVAL_MS })({ addressManager, logger })
    discovery.addEventListener('peer', ({ detail: { id, multiaddrs } }) => {
      const addresses = multiaddrs.map((address) => address.toString()).filter((address) => DIALLABLE.test(address))
      heard(addresses.map((address) => `${address}/p2p/${id}`))
    })
    return discovery
  }
}

/** The library tells of errors in its log alone. */
function errorsTo(take: (error: unknown) => void): ComponentLogger {
  const logger: Libp2pLogger = Object.assign(() => {}, {
    error: (_: unknown, error: unknown) => take(error),
    trace: () => {},
    enabled: true,
    newScope: () => logger,
  })
  return { forComponent: () => logger }
}
