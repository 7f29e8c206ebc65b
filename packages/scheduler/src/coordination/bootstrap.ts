import type { NodeIntroduction } from './checks.ts'
import type { Session } from './session.ts'

const MOST_NODES = 8
/** A node may have no address to offer: so many are looked at for each that is wanted. */
const TRIES = 4

/**
 * libp2p addresses of a few nodes for a newcomer to start from: seeds first, then nodes at random.
 * @param isLocal whether the newcomer is on this machine
 */
export function bootstrapFor(
  seeds: Iterable<Session>,
  nodes: readonly Session[],
  isLocal: boolean,
  random: () => number,
): string[] {
  const chosen = new Set<Session>()
  const choose = (session: Session | undefined) => {
    if (session !== undefined && dialledAt(session.introduction, isLocal).length > 0) chosen.add(session)
  }
  for (const seed of seeds) {
    if (chosen.size === MOST_NODES) break
    choose(seed)
  }
  if (nodes.length <= MOST_NODES * TRIES) {
    const start = Math.floor(random() * nodes.length)
    for (let i = 0; i < nodes.length && chosen.size < MOST_NODES; i++) choose(nodes[(start + i) % nodes.length])
  } else {
    for (let i = 0; i < MOST_NODES * TRIES && chosen.size < MOST_NODES; i++) {
      choose(nodes[Math.floor(random() * nodes.length)])
    }
  }
  return [...chosen].flatMap(({ introduction }) => dialledAt(introduction, isLocal))
}

/** The libp2p addresses at which a node can be dialled from this machine, or from another, each with its peer id. */
export function dialledAt(
  { id, multiaddrs, localMultiaddrs }: Pick<NodeIntroduction, 'id' | 'multiaddrs' | 'localMultiaddrs'>,
  isLocal: boolean,
): string[] {
  const addresses = isLocal ? localMultiaddrs : multiaddrs
  return addresses.map((address) => (/\/p2p\/[^/]+$/.test(address) ? address : `${address}/p2p/${id}`))
}
