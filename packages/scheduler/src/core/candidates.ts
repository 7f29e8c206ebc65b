import type { LeaseFailure } from './commands.ts'
import { fnv1a } from './hash.ts'
import type { Node } from './nodes.ts'
import { WANTS } from './peer-table.ts'
import type { Source } from './sources.ts'
import type { State } from './state.ts'
import type { Swarm } from './swarm.ts'

/** Seeds try so many sources of a swarm; who names another one has to fetch from it by itself. */
const MOST_TRIED_SOURCES = 8
/** The origin's own word, as far as a node's credentials go: asking again brings nothing else. */
const FINAL: ReadonlySet<LeaseFailure> = new Set<LeaseFailure>(['unauthorized', 'not_found', 'size_mismatch'])

/** Who is to fetch from where. */
export interface Candidate {
  readonly node: Node
  readonly source: Source
}

/**
 * Who is to have the lease next, each node once for each source until one succeeds. First the live seeds, with one
 * source after the other: of them those that have some of the blob (another scheduler had them fetch it, and they still
 * may), then the least loaded (ties by rendezvous hash, so that several schedulers agree). Then the nodes that wait, each
 * with its own source and its own client's credentials, the least loaded first and of those the one that has the most: it
 * may have had the lease from another scheduler.
 */
export function nextCandidate(state: State, swarm: Swarm): Candidate | undefined {
  const sources = swarm.sources.byPromise()
  const tried = sources.filter(({ isTriedBySeeds }) => isTriedBySeeds).length
  for (const source of sources) {
    if (!source.isTriedBySeeds && tried >= MOST_TRIED_SOURCES) continue
    const node = nextSeed(state, swarm, source, sources)
    if (node !== undefined) return { node, source }
  }
  for (const source of sources) {
    const node = nextClaimant(state, swarm, source)
    if (node !== undefined) return { node, source }
  }
  return undefined
}

/** Whether the origin said no to everybody who could have the blob from this source. */
export function isRefuted(state: State, swarm: Swarm, source: Source): boolean {
  for (const peer of source.claimants) {
    const refusal = source.refusals.get(swarm.peers.node[peer] as number)
    if (refusal === undefined || !FINAL.has(refusal)) return false
  }
  return nextSeed(state, swarm, source, [source]) === undefined
}

/** Whether the node has to do with a blob of the same digest and another size: it is nobody to ask for this one. */
export function isElsewhere(node: Node, swarm: Swarm): boolean {
  const other = node.swarms.get(swarm.digest)
  if (other !== undefined) return other !== swarm
  const held = node.holdings.get(swarm.digest)
  return held !== undefined && held.sizeBytes !== swarm.layout.size
}

function nextSeed(state: State, swarm: Swarm, source: Source, sources: readonly Source[]): Node | undefined {
  if (isUnseen(state, source)) return undefined
  let best: Node | undefined
  for (const node of state.nodes.seeds) {
    if (!mayFetch(swarm, source, node) || isHiddenFromAll(state, swarm, source, node)) continue
    if (best === undefined || isBefore(swarm, sources, node, best)) best = node
  }
  return best
}

function nextClaimant(state: State, swarm: Swarm, source: Source): Node | undefined {
  const isHidden = isUnseen(state, source)
  let best: Node | undefined
  for (const peer of source.claimants) {
    const node = state.nodes.get(swarm.peers.node[peer] as number)
    if (!swarm.peers.is(peer, WANTS) || !mayFetch(swarm, source, node)) continue
    if (isHidden && node.info.role === 'seed') continue
    if (best === undefined || node.leases < best.leases) best = node
    else if (node.leases === best.leases && heldBy(swarm, node) > heldBy(swarm, best)) best = node
  }
  return best
}

/** Registries answer 404 to who may not see a repository: one seed's "not found" holds for all seeds, no client's does. */
function isUnseen(state: State, { refusals }: Source): boolean {
  for (const [node, reason] of refusals) {
    if (reason === 'not_found' && state.nodes.find(node)?.info.role === 'seed') return true
  }
  return false
}

/** Whether none of those that wait could have from the seed what it fetched. */
function isHiddenFromAll(state: State, swarm: Swarm, { claimants }: Source, { index, info }: Node): boolean {
  if (info.isConfined !== true) return false
  for (const peer of claimants) {
    if (!state.avoidance.isOutOfReach(swarm.peers.node[peer] as number, index)) return false
  }
  return true
}

function mayFetch(swarm: Swarm, source: Source, node: Node): boolean {
  const { index } = node
  return !node.isBanned && !swarm.refusals.has(index) && !source.refusals.has(index) && !isElsewhere(node, swarm)
}

function isBefore(swarm: Swarm, sources: readonly Source[], a: Node, b: Node): boolean {
  const hasFailed = ({ index }: Node) => sources.length > 1 && sources.some(({ refusals }) => refusals.has(index))
  if (hasFailed(a) !== hasFailed(b)) return hasFailed(b)
  const hasBegun = heldBy(swarm, a) > 0
  if (hasBegun !== heldBy(swarm, b) > 0) return hasBegun
  if (a.leases !== b.leases) return a.leases < b.leases
  const x = rendezvousHash(swarm.digest, a.info.id)
  const y = rendezvousHash(swarm.digest, b.info.id)
  return x === y ? a.info.id < b.info.id : x > y
}

/** Pieces of the swarm that a node holds. */
function heldBy(swarm: Swarm, node: Node): number {
  const peer = swarm.peerAt(node.index)
  return peer === -1 ? 0 : (swarm.peers.haveCount[peer] as number)
}

/** Mixed (murmur3's finalizer) so that names that differ in the last letter spread. */
function rendezvousHash(digest: string, id: string): number {
  let hash = fnv1a(digest, id)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
