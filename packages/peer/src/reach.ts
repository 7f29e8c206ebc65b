import { isOfThisMachineOnly, parseHostPort } from '@shoal/core'

/** What of a node's options and addresses says who can reach it. */
export interface ReachView {
  readonly laneHost: string
  readonly advertiseHost: string
  readonly libp2pHost: string
  /** Whether other nodes are told an address of libp2p that leads here from another machine. */
  readonly isLibp2pShared: boolean
  /** Each `host:port`. */
  readonly schedulers: readonly string[]
  readonly bootstrap: readonly string[]
  readonly bootstrapDns: readonly string[]
  readonly mdns: boolean
}

/**
 * Why other machines cannot reach this node, for people, each with the option to set; nothing while there is no sign that
 * the node has neighbours on other machines.
 */
export function reachTroubles(view: ReachView): string[] {
  if (!hasNeighboursElsewhere(view)) return []
  const troubles: string[] = []
  if (isLoopbackToListenOn(view.laneHost)) {
    troubles.push(`lane.host is ${view.laneHost}: set it to :: or to an address of this machine that other nodes reach`)
  }
  if (view.advertiseHost !== '' && isOfThisMachineOnly(view.advertiseHost)) {
    troubles.push(
      `lane.advertiseHost is ${view.advertiseHost}: set it to an address of this machine that other nodes reach`,
    )
  }
  if (view.isLibp2pShared) return troubles
  troubles.push(
    isLoopbackToListenOn(view.libp2pHost)
      ? `libp2p.host is ${view.libp2pHost}: set it to :: or to an address of this machine that other nodes reach`
      : 'this machine has no address but loopback and link-local ones: see to its network, and set lane.advertiseHost to where other nodes reach it',
  )
  return troubles
}

function isLoopbackToListenOn(host: string): boolean {
  return host !== '::' && host !== '0.0.0.0' && isOfThisMachineOnly(host)
}

function hasNeighboursElsewhere({ schedulers, bootstrap, bootstrapDns, mdns }: ReachView): boolean {
  const hosts = [...schedulers, ...bootstrapDns].map((text) => parseHostPort(text)?.host ?? '')
  const addresses = bootstrap.map((text) => text.split('/')[2] ?? '')
  return mdns || [...hosts, ...addresses].some((host) => host !== '' && !isOfThisMachineOnly(host))
}
