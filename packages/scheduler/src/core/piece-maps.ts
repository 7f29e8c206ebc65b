import type { State } from './state.ts'
import { SHA256_BYTES, type Swarm } from './swarm.ts'

/** A holder that is asked for piece digests has so long to answer. */
const ANSWER_TIMEOUT_MS = 5_000
/** So many holders are asked; then what they hold is fetched from the origin, whose bytes can be hashed. */
const MOST_ASKED = 5

/** The search for piece digests that a swarm lacks. */
export interface MapInquiry {
  /** Node that is to answer; -1: none. */
  node: number
  askedAt: number
  /** Nodes that were asked; their answers are taken even when late. */
  readonly asked: Set<number>
  /** Nobody that was asked knew. */
  isExhausted: boolean
}

/** Pieces without a known digest can not be assigned: asks one holder of such pieces, another when it does not answer. */
export function inquire(state: State, swarm: Swarm): void {
  const { inquiry } = swarm
  if (swarm.wanting === 0) return
  if (inquiry.node !== -1) {
    if (state.now - inquiry.askedAt < ANSWER_TIMEOUT_MS) return
    inquiry.node = -1
  }
  if (!hasUnknown(swarm)) {
    inquiry.asked.clear()
    inquiry.isExhausted = false
    return
  }
  const peer = inquiry.asked.size < MOST_ASKED ? nextToAsk(swarm) : -1
  inquiry.isExhausted = peer === -1
  if (peer === -1) return
  inquiry.node = swarm.peers.node[peer] as number
  inquiry.askedAt = state.now
  inquiry.asked.add(inquiry.node)
  state.commands.maps.push({ node: inquiry.node, digest: swarm.digest })
}

/** Takes the digests of a map: 32 bytes for each piece, zeros where the node does not know it. */
export function mapArrived(state: State, swarm: Swarm, node: number, sha256s: Uint8Array): void {
  const { inquiry } = swarm
  if (!inquiry.asked.has(node)) return
  if (inquiry.node === node) inquiry.node = -1
  for (let piece = 0; piece < swarm.pieces; piece++) {
    const sha256 = sha256s.subarray(piece * SHA256_BYTES, (piece + 1) * SHA256_BYTES)
    if (sha256.every((byte) => byte === 0)) continue
    if (!swarm.learn(piece, sha256)) state.counters.digestConflicts++
  }
  state.touch(swarm)
}

/** The blob has a new holder: one more to ask. */
export function holderCame(swarm: Swarm): void {
  if (swarm.inquiry.isExhausted) swarm.inquiry.asked.clear()
  swarm.inquiry.isExhausted = false
}

function hasUnknown(swarm: Swarm): boolean {
  for (let at = 0; at < swarm.words; at++) {
    if (((swarm.held[at] as number) & ~(swarm.known[at] as number)) !== 0) return true
  }
  return false
}

/** The peer that holds the most and has not been asked, if it holds a piece whose digest is unknown; -1: none. */
function nextToAsk(swarm: Swarm): number {
  const { peers, inquiry } = swarm
  let best = -1
  for (const [node, peer] of swarm.peerOf) {
    if (inquiry.asked.has(node) || !knowsMore(swarm, peer)) continue
    if (best === -1 || (peers.haveCount[peer] as number) > (peers.haveCount[best] as number)) best = peer
  }
  return best
}

function knowsMore(swarm: Swarm, peer: number): boolean {
  const { have } = swarm.peers
  for (let at = 0; at < swarm.words; at++) {
    if (((have[peer * swarm.words + at] as number) & ~(swarm.known[at] as number)) !== 0) return true
  }
  return false
}
