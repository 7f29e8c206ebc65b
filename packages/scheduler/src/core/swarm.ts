import { PieceLayout } from '@shoal/core'
import { clearBit, hasBit, lowestBit, setBit, wordsFor } from './bitset.ts'
import type { LeaseFailure } from './commands.ts'
import { Flights } from './flights.ts'
import type { Lease } from './lease.ts'
import { lambdaOf, Pace, type Usual } from './pace.ts'
import { DISTRUSTED, INJECTS, PeerTable } from './peer-table.ts'
import type { MapInquiry } from './piece-maps.ts'
import { Rarity } from './rarity.ts'
import { slotShare, slotsFor } from './slots.ts'
import { Sources } from './sources.ts'
import { grown } from './tables.ts'
import { Zone } from './zone.ts'

/** Bytes of a piece's sha256. */
export const SHA256_BYTES = 32

/** Zones that a swarm tells apart; peers of further ones count as of the last. */
const MOST_ZONES = 256

/** A priority past the least urgent one (3). */
const PRIORITIES = 4

/** Bytes that arrived, by where they came from. */
export interface BytesBySource {
  origin: number
  seed: number
  peer: number
}

/**
 * One blob, which its digest and its size name, that somebody wants or lately wanted: who has which piece, and what is on its way. This class keeps the
 * tables consistent with each other; who may send to whom is decided in `transfers.ts` and `policy.ts`.
 */
export class Swarm {
  /** Never used for another swarm again. */
  readonly id: number
  readonly digest: string
  readonly layout: PieceLayout
  /** How many pieces the blob has. */
  readonly pieces: number
  readonly words: number
  readonly peers: PeerTable
  readonly rarity: Rarity
  /** Peer of each node that takes part. */
  readonly peerOf = new Map<number, number>()
  /** The same, by index, for each event; -1: none. */
  #peerAt = new Int32Array(16).fill(-1)
  /** Where the peers that want the blob would fetch it. */
  readonly sources = new Sources()
  /** Peers that could send and receive, by zone; each peer's `zone` is a place in this list. */
  readonly zones: Zone[] = []
  /** What is on its way, and how long it takes. */
  readonly flights = new Flights()
  readonly pace = new Pace()
  /** Transfers that an ordinary peer may have in flight here, as child and as parent each. */
  slots: number
  /** What each of them takes of a node's slot. */
  readonly slotShare: number
  /** Peers with the flag INJECTS. */
  readonly injectors: number[] = []
  /** Pieces whose sha256 is known, that some peer holds, that an ordinary peer holds. */
  readonly known: Uint32Array
  readonly held: Uint32Array
  readonly spread: Uint32Array
  /** The sha256 of each piece, where known. */
  readonly digests: Uint8Array
  /** Peers that want the blob. */
  wanting = 0
  /** The same by priority. */
  readonly #wantingBy = new Int32Array(PRIORITIES)
  /** Some node gets nothing at all although it could: the swarm goes before others of its priority. */
  isStarved = false
  /** When some node last got a piece, or a part of one from the origin, and when those that wait were last told. */
  progressAt = Number.NEGATIVE_INFINITY
  reassuredAt = Number.NEGATIVE_INFINITY
  lease: Lease | undefined
  /** Nothing is leased before this time. */
  leasesFrom = Number.NEGATIVE_INFINITY
  /** Nodes that are not to have the lease before the next success or failure, whatever the source, and why. */
  readonly refusals = new Map<number, LeaseFailure>()
  /** Nodes that have, or had, the lease. */
  readonly lessees = new Set<number>()
  /** A lease brought nothing for too long, and none has brought all since. */
  hasStalled = false
  readonly inquiry: MapInquiry = { node: -1, askedAt: 0, asked: new Set(), isExhausted: false }
  /** `peer * pieces + piece` of pieces that a peer sent with wrong bytes: it is no holder of them any more. */
  readonly blamed = new Set<number>()
  /** Something changed since the policy last ran. */
  isDirty = false
  /** Runs of the policy in a row that found nothing although there were senders and receivers. */
  fruitless = 0
  readonly bytes: BytesBySource = { origin: 0, seed: 0, peer: 0 }
  readonly #zoneOf = new Map<string, number>()
  readonly #holders: Int32Array
  readonly #ordinaryHolders: Int32Array

  /** @param usual what other swarms have learnt */
  constructor(id: number, digest: string, sizeBytes: number, usual: Usual) {
    this.id = id
    this.digest = digest
    this.layout = new PieceLayout(sizeBytes)
    this.pieces = this.layout.count
    this.words = wordsFor(this.pieces)
    this.peers = new PeerTable(this.words)
    this.slotShare = slotShare(this.layout.size)
    this.slots = slotsFor(this.pieces, lambdaOf(usual.controlMs, usual.msPerByte * this.layout.pieceSize))
    this.rarity = new Rarity(this.pieces, this.words)
    this.known = new Uint32Array(this.words)
    this.held = new Uint32Array(this.words)
    this.spread = new Uint32Array(this.words)
    this.digests = new Uint8Array(this.pieces * SHA256_BYTES)
    this.#holders = new Int32Array(this.pieces)
    this.#ordinaryHolders = new Int32Array(this.pieces)
  }

  /** Whoever had the lease in vain may have it again. */
  clearRefusals(): void {
    this.refusals.clear()
    this.sources.clearRefusals()
    this.hasStalled = false
  }

  /** Nothing is known of a node any more: its index will be another's. */
  forgetNode(node: number): void {
    this.refusals.delete(node)
    this.sources.forgetNode(node)
    this.lessees.delete(node)
    this.inquiry.asked.delete(node)
  }

  /** The most urgent priority among those that want the blob; lower is more urgent. */
  get priority(): number {
    for (let priority = 0; priority < PRIORITIES; priority++) {
      if ((this.#wantingBy[priority] as number) > 0) return priority
    }
    return PRIORITIES
  }

  /** Peers that could receive. */
  get receiverCount(): number {
    let count = 0
    for (const { receivers } of this.zones) count += receivers.size
    return count
  }

  /** Ordinary peers that could send. */
  get senderCount(): number {
    let count = 0
    for (const { senders } of this.zones) count += senders.size
    return count
  }

  /** Peer of the node; -1: it takes no part. */
  peerAt(node: number): number {
    return this.#peerAt[node] ?? -1
  }

  /** Notes which peer a node is from now on. */
  admit(node: number, peer: number): void {
    if (node >= this.#peerAt.length) {
      this.#peerAt = grown(this.#peerAt, new Int32Array(Math.max(node + 1, this.#peerAt.length * 2)).fill(-1))
    }
    this.#peerAt[node] = peer
    this.peerOf.set(node, peer)
  }

  /** The node takes no part any more. */
  dismiss(node: number): void {
    this.#peerAt[node] = -1
    this.peerOf.delete(node)
  }

  /** Place of a zone in the list, by its label. */
  zoneOf(label: string): number {
    const known = this.#zoneOf.get(label)
    if (known !== undefined) return known
    if (this.zones.length === MOST_ZONES) return MOST_ZONES - 1
    this.#zoneOf.set(label, this.zones.length)
    return this.zones.push(new Zone(this.pieces, this.words)) - 1
  }

  /** Notes one more, or one less, peer that wants the blob. */
  countWanting(priority: number, change: 1 | -1): void {
    this.wanting += change
    this.#wantingBy[priority] = (this.#wantingBy[priority] as number) + change
  }

  /** The sha256 of a piece; a view, valid while the swarm is. */
  sha256(piece: number): Uint8Array {
    return this.digests.subarray(piece * SHA256_BYTES, (piece + 1) * SHA256_BYTES)
  }

  /** Learns a piece's sha256. The first one stays: returns whether `sha256` is it. */
  learn(piece: number, sha256: Uint8Array): boolean {
    if (hasBit(this.known, 0, piece)) return sha256.every((byte, i) => byte === this.digests[piece * SHA256_BYTES + i])
    this.digests.set(sha256, piece * SHA256_BYTES)
    setBit(this.known, 0, piece)
    return true
  }

  /** Forgets a piece's sha256: nobody is left who could prove it. */
  unlearn(piece: number): void {
    clearBit(this.known, 0, piece)
  }

  /** The piece is the peer's, or on its way to it: nobody else need send it. */
  take(peer: number, piece: number): void {
    const base = peer * this.words
    if (hasBit(this.peers.taken, base, piece)) return
    setBit(this.peers.taken, base, piece)
    this.peers.takenCount[peer] = (this.peers.takenCount[peer] as number) + 1
    if (piece === this.peers.firstOpen[peer]) this.peers.firstOpen[peer] = this.#nextOpen(peer, piece)
    if (this.#isCounted(peer, piece)) this.#countCopy(peer, piece, 1)
  }

  /** The piece is neither the peer's nor on its way to it. */
  untake(peer: number, piece: number): void {
    const base = peer * this.words
    if (!hasBit(this.peers.taken, base, piece)) return
    clearBit(this.peers.taken, base, piece)
    if (piece < (this.peers.firstOpen[peer] as number)) this.peers.firstOpen[peer] = piece
    this.peers.takenCount[peer] = (this.peers.takenCount[peer] as number) - 1
    if (this.#isCounted(peer, piece)) this.#countCopy(peer, piece, -1)
  }

  /** The peer has the piece. Where it is not to be believed, the piece only counts as taken. */
  hold(peer: number, piece: number): void {
    this.take(peer, piece)
    const { peers } = this
    const base = peer * this.words
    if (hasBit(peers.have, base, piece) || peers.is(peer, DISTRUSTED) || this.#isBlamed(peer, piece)) return
    setBit(peers.have, base, piece)
    if (piece > (peers.lastHave[peer] as number)) peers.lastHave[peer] = piece
    peers.haveCount[peer] = (peers.haveCount[peer] as number) + 1
    this.#countHolder(peer, piece, 1)
  }

  /** The peer does not have the piece, or is not believed to; `take` is not touched. */
  unhold(peer: number, piece: number): void {
    const { peers } = this
    const base = peer * this.words
    if (!hasBit(peers.have, base, piece)) return
    clearBit(peers.have, base, piece)
    peers.haveCount[peer] = (peers.haveCount[peer] as number) - 1
    this.#countHolder(peer, piece, -1)
  }

  /** The peer sent wrong bytes: for this piece it is no holder any more, whatever it says. */
  blame(peer: number, piece: number): void {
    if (this.#isBlamed(peer, piece)) return
    this.unhold(peer, piece)
    if (hasBit(this.peers.taken, peer * this.words, piece) && this.#isCounted(peer, piece))
      this.#countCopy(peer, piece, -1)
    this.blamed.add(peer * this.pieces + piece)
  }

  /** The peer got the piece anew from the origin, or claims it no longer: what was held against it is settled. */
  absolve(peer: number, piece: number): void {
    if (!this.#isBlamed(peer, piece)) return
    this.blamed.delete(peer * this.pieces + piece)
    if (hasBit(this.peers.taken, peer * this.words, piece) && this.#isCounted(peer, piece))
      this.#countCopy(peer, piece, 1)
  }

  /** Sets or clears INJECTS or DISTRUSTED, and counts the peer's pieces anew. */
  setFlag(peer: number, flag: typeof INJECTS | typeof DISTRUSTED, isOn: boolean): void {
    const { peers } = this
    if (peers.is(peer, flag) === isOn) return
    const had = this.#pieces(peers.have, peer)
    const took = this.#pieces(peers.taken, peer)
    for (const piece of had) this.unhold(peer, piece)
    for (const piece of took) this.untake(peer, piece)
    peers.flags[peer] = isOn ? (peers.flags[peer] as number) | flag : (peers.flags[peer] as number) & ~flag
    for (const piece of took) this.take(peer, piece)
    for (const piece of had) this.hold(peer, piece)
    if (flag !== INJECTS) return
    if (isOn) this.injectors.push(peer)
    else this.injectors.splice(this.injectors.indexOf(peer), 1)
  }

  /** Forgets all the peer's pieces and whatever was held against it. */
  clear(peer: number): void {
    for (const piece of this.#pieces(this.peers.have, peer)) this.unhold(peer, piece)
    for (const piece of this.#pieces(this.peers.taken, peer)) this.untake(peer, piece)
    for (const key of this.blamed) if (Math.floor(key / this.pieces) === peer) this.blamed.delete(key)
  }

  isComplete(peer: number): boolean {
    return this.peers.haveCount[peer] === this.pieces
  }

  /** The first piece after a taken one that is not taken; some piece past the last when there is none. */
  #nextOpen(peer: number, piece: number): number {
    const { taken } = this.peers
    const base = peer * this.words
    for (let at = piece >>> 5; at < this.words; at++) {
      const open = ~(taken[base + at] as number)
      if (open !== 0) return (at << 5) + lowestBit(open)
    }
    return this.pieces
  }

  #isBlamed(peer: number, piece: number): boolean {
    return this.blamed.size > 0 && this.blamed.has(peer * this.pieces + piece)
  }

  #isCounted(peer: number, piece: number): boolean {
    return !this.peers.is(peer, INJECTS | DISTRUSTED) && !this.#isBlamed(peer, piece)
  }

  #zone(peer: number): Zone {
    return this.zones[this.peers.zone[peer] as number] as Zone
  }

  #countCopy(peer: number, piece: number, change: 1 | -1): void {
    this.rarity.add(piece, change)
    this.#zone(peer).copied(piece, change)
  }

  #countHolder(peer: number, piece: number, change: 1 | -1): void {
    const holders = (this.#holders[piece] as number) + change
    this.#holders[piece] = holders
    if (holders === 0) clearBit(this.held, 0, piece)
    else if (holders === 1) setBit(this.held, 0, piece)
    if (this.peers.is(peer, INJECTS)) {
      this.#zone(peer).supply(piece, change)
      return
    }
    const ordinary = (this.#ordinaryHolders[piece] as number) + change
    this.#ordinaryHolders[piece] = ordinary
    if (ordinary === 0) clearBit(this.spread, 0, piece)
    else if (ordinary === 1) setBit(this.spread, 0, piece)
  }

  #pieces(bits: Uint32Array, peer: number): number[] {
    const pieces: number[] = []
    for (let at = 0; at < this.words; at++) {
      for (let word = bits[peer * this.words + at] as number; word !== 0; word &= word - 1) {
        pieces.push((at << 5) + lowestBit(word))
      }
    }
    return pieces
  }
}

/** Orders swarms: the more urgent one first, then the one of which some node gets nothing, then the older one. */
export function byUrgency(a: Swarm, b: Swarm): number {
  return a.priority - b.priority || Number(b.isStarved) - Number(a.isStarved) || a.id - b.id
}
