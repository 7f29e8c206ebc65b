import type { Coordinator } from '../coordination/coordinator.ts'
import type { Session } from '../coordination/session.ts'
import type { Blob } from '../core/blobs.ts'
import { WANTS } from '../core/peer-table.ts'
import type { Swarm } from '../core/swarm.ts'

/** Nodes of a swarm that its page shows. */
const MOST_NODES_SHOWN = 1000

/** A connected node as the admin API shows it. */
export function nodeView(coordinator: Coordinator, session: Session) {
  const {
    id,
    name,
    role,
    labels,
    version,
    laneHost,
    localLaneHost,
    lanePort,
    localMultiaddrs,
    uploadSlots,
    downloadSlots,
  } = session.introduction
  const node = coordinator.core.node(session.index)
  const { up, down } = coordinator.traffic.ofNode(session.index)
  return {
    id,
    name,
    role,
    version,
    address: session.address,
    lane: { host: laneHost === '' ? localLaneHost : laneHost, port: lanePort },
    multiaddrs: localMultiaddrs,
    isReachedFromOutside: laneHost !== '',
    labels,
    zone: node.zone,
    rack: labels.rack ?? '',
    connectedSince: session.connectedAt.toISOString(),
    swarms: node.swarms.size,
    blobs: node.holdings.size,
    leases: node.leases,
    pieces: { sent: node.piecesSent, received: node.piecesReceived },
    slots: {
      upload: { used: node.uploads, total: uploadSlots },
      download: { used: node.downloads, total: downloadSlots },
    },
    bytesPerSecond: { up: Math.round(up), down: Math.round(down) },
    isBlocked: session.isBlocked,
    isPaused: node.isPaused,
    isBanned: node.isBanned,
  }
}

/** A blob's swarm as the admin API lists it. Bytes are those that nodes reported since the swarm became active. */
export function swarmView(coordinator: Coordinator, blob: Blob, swarm: Swarm) {
  const { lease } = swarm
  const { bytesPerSecond, crossZoneBytes } = coordinator.traffic.ofSwarm(swarm)
  let [holders, held, inFlight] = [0, 0, 0]
  for (const peer of swarm.peerOf.values()) {
    const have = swarm.peers.haveCount[peer] as number
    if (have > 0) holders++
    held += have
    inFlight += swarm.peers.downloads[peer] as number
  }
  return {
    digest: blob.digest,
    size: blob.sizeBytes,
    pieces: swarm.pieces,
    pieceSize: swarm.layout.pieceSize,
    nodes: swarm.peers.size,
    waiting: swarm.wanting,
    holders,
    complete: blob.holders.size,
    progress: held / (swarm.pieces * Math.max(1, swarm.peers.size)),
    inFlight,
    bytesPerSecond: Math.round(bytesPerSecond),
    crossZoneBytes,
    leases:
      lease === undefined
        ? []
        : [{ node: coordinator.session(lease.node)?.introduction.id ?? '', piecesLeft: lease.left }],
    originBytes: swarm.bytes.origin,
    originCopies: swarm.bytes.origin / blob.sizeBytes,
    bytesBySource: { ...swarm.bytes },
  }
}

/** The nodes of a swarm, at most `MOST_NODES_SHOWN`. */
export function swarmNodesView(coordinator: Coordinator, swarm: Swarm) {
  const nodes = []
  for (const [index, peer] of swarm.peerOf) {
    if (nodes.length === MOST_NODES_SHOWN) break
    const session = coordinator.session(index)
    if (session === undefined) continue
    nodes.push({
      id: session.introduction.id,
      name: session.introduction.name,
      role: session.introduction.role,
      isWaiting: swarm.peers.is(peer, WANTS),
      pieces: swarm.peers.haveCount[peer] as number,
      downloads: swarm.peers.downloads[peer] as number,
      uploads: swarm.peers.uploads[peer] as number,
    })
  }
  return nodes
}

/** The zones that nodes named since the start, with the bytes that crossed their borders. */
export function zonesView(coordinator: Coordinator) {
  return [...coordinator.traffic.zones.all].map(({ name, nodes, bytesIn, bytesOut }) => ({
    zone: name,
    nodes,
    crossZoneBytes: { in: bytesIn, out: bytesOut },
  }))
}
