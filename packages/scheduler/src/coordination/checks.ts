import { HaveSet, isDigest, isRegistryHost, isRepositoryName, PIECE_RULE, PieceLayout } from '@shoal/core'
import { isPeerId } from '@shoal/core/service'
import { type Hello, type Join, NodeRole, Priority } from '@shoal/proto'
import type { JoinInfo } from '../core/events.ts'
import type { NodeInfo } from '../core/nodes.ts'
import { SHA256_BYTES } from '../core/swarm.ts'
import { type Reach, reachOf } from './lane-hosts.ts'
import { violation } from './violation.ts'

const HOST = /^[A-Za-z0-9._:[\]%-]{1,255}$/
const MULTIADDR = /^\/[\x21-\x7e]{1,511}$/
const MOST_MULTIADDRS = 16
const MOST_LABELS = 16
const MOST_SLOTS = 1024

/** What a node said of itself, checked. */
export interface NodeIntroduction extends NodeInfo, Reach {
  readonly isLocal: boolean
  readonly name: string
  readonly lanePort: number
  readonly version: string
  /** Whether it understands several assignments in one command. */
  readonly readsBatches: boolean
}

/** @param address where the stream comes from, `host:port` */
export function checkHello(hello: Hello, address: string): NodeIntroduction {
  if (!isPeerId(hello.peerId)) throw violation('hello.peer_id is not a libp2p peer id')
  if (hello.pieceRule !== PIECE_RULE) {
    throw violation(
      `hello.piece_rule is ${hello.pieceRule}, not ${PIECE_RULE}: node and scheduler cut blobs into different pieces; run the same release of Shoal on both`,
    )
  }
  checkText('hello.name', hello.name, 255)
  checkText('hello.version', hello.version, 128)
  if (hello.role !== NodeRole.PEER && hello.role !== NodeRole.SEED) throw violation('hello.role is not a role')
  if (hello.laneHost !== '' && !HOST.test(hello.laneHost))
    throw violation('hello.lane_host is not a host name or an address')
  checkRange('hello.lane_port', hello.lanePort, 65535)
  checkRange('hello.upload_slots', hello.uploadSlots, MOST_SLOTS)
  checkRange('hello.download_slots', hello.downloadSlots, MOST_SLOTS)
  if (hello.multiaddrs.length > MOST_MULTIADDRS || !hello.multiaddrs.every((text) => MULTIADDR.test(text))) {
    throw violation(`hello.multiaddrs must be at most ${MOST_MULTIADDRS} multiaddrs of at most 512 characters`)
  }
  const labels = Object.entries(hello.labels)
  if (labels.length > MOST_LABELS) throw violation(`hello.labels has more than ${MOST_LABELS} entries`)
  for (const [key, value] of labels) {
    checkText('a key of hello.labels', key, 63)
    checkText('a value of hello.labels', value, 255)
  }
  const reach = reachOf(hello, address)
  return {
    ...reach,
    isConfined: reach.laneHost === '',
    id: hello.peerId,
    role: hello.role === NodeRole.SEED ? 'seed' : 'peer',
    uploadSlots: hello.uploadSlots,
    downloadSlots: hello.downloadSlots,
    labels: Object.fromEntries(labels),
    name: hello.name,
    lanePort: hello.lanePort,
    version: hello.version,
    readsBatches: hello.readsBatches,
  }
}

/** @param join with digest and size checked, and no more pieces than a blob may have */
export function checkJoin(join: Join): JoinInfo {
  const have = checkHave('join.have', join.have, join.size)
  const { origin } = join
  if (origin === undefined || !isRegistryHost(origin.registry) || !isRepositoryName(origin.repository)) {
    throw violation('join.origin must be a registry (host or host:port) and a repository name')
  }
  const priority = join.priority === Priority.UNSPECIFIED ? Priority.INTERACTIVE : join.priority
  if (priority < Priority.INTERACTIVE || priority > Priority.PREHEAT) throw violation('join.priority is not a priority')
  return {
    digest: join.digest,
    sizeBytes: join.size,
    have,
    origin: { registry: origin.registry, repository: origin.repository },
    priority,
  }
}

/** @param size bytes of the blob, checked: no more pieces than a blob may have */
export function checkHave(field: string, have: Uint8Array, size: number): HaveSet {
  const set = HaveSet.fromBytes(have, new PieceLayout(size).count)
  if (set === undefined) throw violation(`${field} names pieces that a blob of this size does not have`)
  return set
}

export function checkDigest(field: string, digest: string): void {
  if (!isDigest(digest)) throw violation(`${field} is not an OCI digest`)
}

export function checkSize(field: string, sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 1) throw violation(`${field} must be at least 1 byte`)
}

/** The sha256 in a field that may be empty. */
export function checkSha256(field: string, sha256: Uint8Array): Uint8Array | undefined {
  if (sha256.byteLength === 0) return undefined
  if (sha256.byteLength !== SHA256_BYTES) throw violation(`${field} must be ${SHA256_BYTES} bytes`)
  return sha256
}

function checkText(field: string, text: string, mostBytes: number): void {
  if (Buffer.byteLength(text) > mostBytes) throw violation(`${field} is longer than ${mostBytes} bytes`)
}

function checkRange(field: string, value: number, most: number): void {
  if (value < 1 || value > most) throw violation(`${field} must be 1 to ${most}`)
}
