import type { HaveSet } from '@shoal/core'
import { SchedulerError } from '../errors.ts'
import { arrived } from './arrival.ts'
import { hasBit } from './bitset.ts'
import { addHolder, type Blobs, blobOf, dropHolder } from './blobs.ts'
import { boundOfHolding, boundOfJoin, boundOfPart } from './bounds.ts'
import { isElsewhere } from './candidates.ts'
import { Commands, type LeaseFailure } from './commands.ts'
import { GONE, type JoinInfo, ORIGIN } from './events.ts'
import { transferFailed } from './faults.ts'
import { handoverMs } from './handover.ts'
import { Hedging } from './hedging.ts'
import { endLease, leaseGetsOn } from './lease.ts'
import { leaseFailed, leaseMissing } from './leasing.ts'
import { type Bound, refusal } from './limits.ts'
import {
  activate,
  countPiece,
  holdAll,
  holdExactly,
  keepToSize,
  leaveIfUseless,
  peerFor,
  removePeer,
  settle,
  unwant,
  want,
} from './membership.ts'
import type { Node, NodeInfo } from './nodes.ts'
import { WANTS } from './peer-table.ts'
import { holderCame, inquire, mapArrived } from './piece-maps.ts'
import { Policy } from './policy.ts'
import type { Random } from './random.ts'
import { type CoreOptions, type Counters, type PieceFailure, type PieceObserver, State } from './state.ts'
import { byUrgency, type Swarm } from './swarm.ts'
import { sweep } from './sweep.ts'
import { findTransfer, freeChildSlot, freeParentSlot } from './transfers.ts'

/** What depends on time alone is looked at so often. */
const SWEEP_MS = 250
/** A random sample may miss the one pair that fits: the policy tries again so many ticks before it waits for news. */
const FRUITLESS_RUNS = 3
/** A node of which something is refused hears of it so often. */
const TELL_REFUSED_MS = 60_000

/**
 * Decides which node sends which piece to whom: a deterministic state machine. Events change the state at once;
 * `tick` says what follows from them. The caller says what time it is and brings the randomness, so that equal events
 * give equal commands.
 */
export class SchedulingCore {
  readonly #state: State
  readonly #policy: Policy
  readonly #hedging: Hedging
  #spare = new Commands()
  #nextSwarm = 1
  /** When the time was first said. */
  #startedAt = Number.NaN
  #sweptAt = Number.NEGATIVE_INFINITY

  constructor(options: CoreOptions, random: Random) {
    this.#state = new State(options, random)
    this.#policy = new Policy(this.#state)
    this.#hedging = new Hedging(this.#state)
  }

  /** Says what time it is, in milliseconds from any start; never less than before. Events happen at this time. */
  setTime(now: number): void {
    this.#state.now = now
    if (Number.isNaN(this.#startedAt)) this.#startedAt = now
  }

  /** A node came up; returns its index, which is another node's once it went down. */
  nodeUp(info: NodeInfo): number {
    const { banned, swarms } = this.#state
    const node = this.#state.nodes.add(info)
    node.isBanned = (banned.get(info.id) ?? 0) > this.#state.now
    this.#state.avoidance.place(node.index, info.isLocal === true, info.isConfined === true)
    // A new seed may do what those before it could not.
    if (info.role === 'seed') for (const swarm of swarms.values()) if (swarm.wanting > 0) this.#state.touch(swarm)
    return node.index
  }

  /** The node is gone, and with it all that it held. */
  nodeDown(index: number): void {
    const state = this.#state
    const node = state.nodes.get(index)
    for (const swarm of [...node.swarms.values()]) removePeer(state, swarm, swarm.peerAt(index))
    for (const digest of node.holdings.keys()) dropHolder(this.#state, node, digest)
    for (const swarm of state.swarms.values()) swarm.forgetNode(index)
    for (const other of state.nodes) other.corruptFor.delete(index)
    state.avoidance.forget(index)
    state.commands.forget(index)
    state.nodes.remove(node)
  }

  /** The node holds the blob whole. Refused over a bound. */
  holding(index: number, digest: string, sizeBytes: number): void {
    const node = this.#state.nodes.get(index)
    if (node.isBanned) return
    const bound = boundOfHolding(this.#state, node, digest, sizeBytes)
    if (bound !== undefined) {
      this.#refuse(node, bound)
      return
    }
    keepToSize(this.#state, node, digest, sizeBytes)
    const blob = blobOf(this.#state, digest, sizeBytes)
    addHolder(this.#state, node, blob)
    const { swarm } = blob
    if (swarm === undefined) return
    holdAll(this.#state, swarm, peerFor(this.#state, swarm, node))
    holderCame(swarm)
  }

  /** The node does not hold the blob any more. If it waits for it, it waits on, with nothing. */
  withdrawn(index: number, digest: string): void {
    const node = this.#state.nodes.get(index)
    const swarm = node.swarms.get(digest)
    if (swarm !== undefined) holdExactly(this.#state, swarm, swarm.peerAt(index), undefined)
    dropHolder(this.#state, node, digest)
  }

  /**
   * The node wants the blob, or says anew what it has of it. Returns the number of the swarm. Over a bound, the number is
   * of no swarm, and the next tick says that it failed.
   */
  join(index: number, info: JoinInfo): number {
    const node = this.#state.nodes.get(index)
    const bound = boundOfJoin(this.#state, node, info.digest, info.sizeBytes)
    if (bound !== undefined) return this.refuse(index, bound)
    return this.#enter(index, info.digest, info.sizeBytes, info.have, (swarm, peer) => {
      if (info.have.isComplete) return
      swarm.sources.claim(peer, info.origin)
      want(this.#state, swarm, peer, info.priority)
    })
  }

  /** The node says what it has of the blob; whether it wants it stays as it is. Returns what `join` does. */
  holdingPart(index: number, digest: string, sizeBytes: number, have: HaveSet): number {
    const bound = boundOfPart(this.#state, this.#state.nodes.get(index), digest, sizeBytes)
    if (bound !== undefined) return this.refuse(index, bound)
    return this.#enter(index, digest, sizeBytes, have, () => {})
  }

  /** Takes no part of a blob, or wish for one, of the node's. Returns a number that is of no swarm, as `join` does. */
  refuse(index: number, bound: Bound): number {
    this.#refuse(this.#state.nodes.get(index), bound)
    // The number is of no swarm.
    const nothing = this.#nextSwarm++
    this.#state.commands.failures.push({ node: index, swarm: nothing, reason: 'refused' })
    this.#state.commands.closed.push(nothing)
    return nothing
  }

  /** The node does not want the blob any more, and gives back a lease of it. */
  leave(index: number, digest: string): void {
    const swarm = this.#state.nodes.get(index).swarms.get(digest)
    if (swarm === undefined) return
    const peer = swarm.peerAt(index)
    if (swarm.lease?.peer === peer) {
      swarm.refusals.set(index, 'unavailable')
      endLease(this.#state, swarm, 'holder_gone')
    }
    unwant(this.#state, swarm, peer)
    leaveIfUseless(this.#state, swarm, peer)
  }

  /**
   * The node has the piece, its bytes checked against the sha256 it was given, or fetched from the origin.
   * @param parent index of the node that sent it; ORIGIN or GONE
   * @param sha256 of the piece, where it came from the origin
   * @param durationMs from request to verified; 0: not known
   * @throws SchedulerError `PROTOCOL_VIOLATION` when the swarm has no such piece
   */
  pieceDone(
    index: number,
    swarmId: number,
    piece: number,
    parent: number,
    sha256: Uint8Array | undefined,
    durationMs = 0,
  ): void {
    const state = this.#state
    const swarm = state.swarms.get(swarmId)
    if (swarm === undefined) return
    checkPiece(swarm, piece)
    const known = swarm.peerAt(index)
    if (known === -1 && isElsewhere(state.nodes.get(index), swarm)) return
    if (sha256 !== undefined && isLeasedToAnother(swarm, index, piece)) {
      this.pieceHeld(index, swarmId, piece)
      return
    }
    if (sha256 !== undefined && !swarm.learn(piece, sha256)) {
      state.counters.digestConflicts++
      return
    }
    if (!hasBit(swarm.known, 0, piece)) return
    const peer = known === -1 ? peerFor(state, swarm, state.nodes.get(index)) : known
    if (parent === ORIGIN) swarm.absolve(peer, piece)
    countPiece(state, swarm, peer, piece, parent)
    arrived(state, swarm, peer, piece, parent, durationMs)
  }

  /**
   * The node has the piece, from a node that it was not told here to fetch it from.
   * @throws SchedulerError `PROTOCOL_VIOLATION` when the swarm has no such piece
   */
  pieceHeld(index: number, swarmId: number, piece: number): void {
    const state = this.#state
    const swarm = state.swarms.get(swarmId)
    if (swarm === undefined) return
    checkPiece(swarm, piece)
    const node = state.nodes.get(index)
    if (isElsewhere(node, swarm)) return
    const peer = peerFor(state, swarm, node)
    // The digest of the piece may be unknown here: then the node is one to ask.
    holderCame(swarm)
    arrived(state, swarm, peer, piece, GONE, 0)
  }

  /**
   * The node could not get the piece from the parent. Ignored when it was not to.
   * @throws SchedulerError `PROTOCOL_VIOLATION` when the swarm has no such piece
   */
  pieceFailed(index: number, swarmId: number, piece: number, parent: number, reason: PieceFailure): void {
    const swarm = this.#state.swarms.get(swarmId)
    if (swarm === undefined) return
    checkPiece(swarm, piece)
    const flight = findTransfer(swarm, index, piece, parent)
    if (flight !== -1) transferFailed(this.#state, swarm, flight, reason)
  }

  /**
   * The piece will be there by the time that an answer could arrive: its slots can be given to the next. Ignored when
   * the piece is not on its way from the parent to the node.
   * @throws SchedulerError `PROTOCOL_VIOLATION` when the swarm has no such piece
   */
  pieceEnding(index: number, swarmId: number, piece: number, parent: number): void {
    const state = this.#state
    const swarm = state.swarms.get(swarmId)
    if (swarm === undefined) return
    checkPiece(swarm, piece)
    const flight = findTransfer(swarm, index, piece, parent)
    if (flight === -1) return
    freeChildSlot(state, swarm, flight)
    freeParentSlot(state, swarm, flight)
  }

  /** Bytes of the node's lease arrive, though no piece of it is whole. Ignored when it has none. */
  leaseProgress(index: number, swarmId: number): void {
    const swarm = this.#state.swarms.get(swarmId)
    if (swarm !== undefined) leaseGetsOn(this.#state, swarm, index)
  }

  /** The node gives its lease back. Ignored when it has none. */
  leaseFailed(index: number, swarmId: number, reason: LeaseFailure): void {
    const swarm = this.#state.swarms.get(swarmId)
    if (swarm !== undefined) leaseFailed(this.#state, swarm, index, reason)
  }

  /**
   * The node says the piece digests of a blob. Ignored when it was not asked.
   * @param sha256s 32 bytes for each piece, zeros where it does not know
   * @throws SchedulerError `PROTOCOL_VIOLATION` when the length does not fit the blob
   */
  pieceMap(index: number, digest: string, sizeBytes: number, sha256s: Uint8Array): void {
    const swarm = this.#state.blobs.find(digest, sizeBytes)?.swarm
    if (swarm === undefined) return
    if (sha256s.byteLength !== swarm.digests.byteLength) {
      throw new SchedulerError(
        'PROTOCOL_VIOLATION',
        `the piece map of ${digest} has ${sha256s.byteLength} bytes, not ${swarm.digests.byteLength}`,
      )
    }
    mapArrived(this.#state, swarm, index, sha256s)
  }

  /** Has `observer` hear of each piece that a node has got from now on. It must not call back. */
  observe(observer: PieceObserver): void {
    this.#state.pieceArrived = observer
  }

  /** What follows from the events since the last tick and from the time. The result is valid until the next tick. */
  tick(): Commands {
    const state = this.#state
    if (state.now - this.#sweptAt >= SWEEP_MS) {
      this.#sweptAt = state.now
      sweep(state)
      for (const swarm of state.swarms.values()) if (this.#hedging.isDue(swarm)) state.touch(swarm)
    }
    const dirty = state.dirty.splice(0)
    if (dirty.length > 1) dirty.sort(byUrgency)
    for (const swarm of dirty) {
      swarm.isDirty = false
      if (state.swarms.get(swarm.id) === swarm) this.#run(swarm)
    }
    const { commands } = state
    this.#spare.clear()
    state.commands = this.#spare
    this.#spare = commands
    return commands
  }

  /** When `tick` next has something to do if no event comes before; undefined: never. */
  dueAt(): number | undefined {
    const state = this.#state
    if (state.dirty.length > 0) return state.now
    return state.swarms.size > state.idle.size ? Math.max(state.now, this.#sweptAt + SWEEP_MS) : undefined
  }

  /** The sha256 of a piece of a live swarm. */
  sha256(swarmId: number, piece: number): Uint8Array {
    return this.swarm(swarmId).sha256(piece)
  }

  /** The live swarm of this number, to look at. Throws RangeError when there is none. */
  swarm(swarmId: number): Swarm {
    const swarm = this.#state.swarms.get(swarmId)
    if (swarm === undefined) throw new RangeError(`there is no swarm ${swarmId}`)
    return swarm
  }

  /** Whether the node waits for the blob of this swarm. */
  isWaiting(index: number, swarmId: number): boolean {
    const swarm = this.#state.swarms.get(swarmId)
    const peer = swarm?.peerOf.get(index)
    return swarm !== undefined && peer !== undefined && swarm.peers.is(peer, WANTS)
  }

  /** Whether the number is, or once was, a swarm's. */
  wasSwarm(swarmId: number): boolean {
    return swarmId > 0 && swarmId < this.#nextSwarm
  }

  /** The live node of this index, to look at. */
  node(index: number): Readonly<Node> {
    return this.#state.nodes.get(index)
  }

  /** The live nodes, to look at. */
  nodes(): Iterable<Readonly<Node>> {
    return this.#state.nodes
  }

  /** Blobs of which a live node holds or wants something, to look at. */
  get blobs(): Pick<Blobs, 'size' | 'find' | 'of'> {
    return this.#state.blobs
  }

  /** Live swarms by number, to look at. */
  get swarms(): ReadonlyMap<number, Swarm> {
    return this.#state.swarms
  }

  /** Holdings of all nodes, and pieces of all swarms. */
  get kept(): { readonly holdings: number; readonly pieces: number } {
    return this.#state
  }

  /** Leases that are carried out, and swarms that wait for one. */
  get leases(): { readonly granted: number; readonly waiting: number } {
    return this.#state.leaseTurns
  }

  get counters(): Readonly<Counters> {
    return this.#state.counters
  }

  #run(swarm: Swarm): void {
    const state = this.#state
    inquire(state, swarm)
    leaseMissing(state, swarm)
    this.#hedging.run(swarm)
    const before = state.counters.assignments
    this.#policy.run(swarm)
    if (state.counters.assignments > before) swarm.fruitless = 0
    else swarm.fruitless++
    const { fruitless } = swarm
    if (fruitless < FRUITLESS_RUNS && swarm.receiverCount > 0 && swarm.senderCount > 0) {
      state.touch(swarm)
      swarm.fruitless = fruitless
    }
    settle(state, swarm)
  }

  #enter(
    index: number,
    digest: string,
    sizeBytes: number,
    have: HaveSet,
    entered: (swarm: Swarm, peer: number) => void,
  ): number {
    const state = this.#state
    const node = state.nodes.get(index)
    keepToSize(state, node, digest, sizeBytes)
    const blob = blobOf(state, digest, sizeBytes)
    const swarm = activate(state, blob, this.#nextSwarm)
    if (swarm.id === this.#nextSwarm) {
      this.#nextSwarm++
      if (have.held > 0) swarm.leasesFrom = state.now + handoverMs(state.now - this.#startedAt)
    }
    const peer = peerFor(state, swarm, node)
    entered(swarm, peer)
    if (have.held > 0) holderCame(swarm)
    holdExactly(state, swarm, peer, have)
    return swarm.id
  }

  #refuse(node: Node, bound: Bound): void {
    const { commands, counters, limits, now } = this.#state
    counters.refused[bound]++
    if (now - node.refusedAt < TELL_REFUSED_MS) return
    node.refusedAt = now
    commands.refusals.push({ node: node.index, reason: refusal(bound, limits) })
  }
}

/** What a piece's sha256 is, while somebody has it leased, only who has or had the lease can tell. */
function isLeasedToAnother(swarm: Swarm, node: number, piece: number): boolean {
  return swarm.lease !== undefined && hasBit(swarm.lease.pieces, 0, piece) && !swarm.lessees.has(node)
}

function checkPiece(swarm: Swarm, piece: number): void {
  if (piece >= swarm.pieces) {
    throw new SchedulerError(
      'PROTOCOL_VIOLATION',
      `swarm ${swarm.id} has ${swarm.pieces} pieces, and no piece ${piece}`,
    )
  }
}
