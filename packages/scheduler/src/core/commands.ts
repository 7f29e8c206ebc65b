import type { Origin } from './sources.ts'
import { grown } from './tables.ts'

/** Why a lease, or the whole swarm, could not be carried out. */
export type LeaseFailure = 'unauthorized' | 'not_found' | 'unavailable' | 'size_mismatch' | 'digest_mismatch' | 'local'

/** Why a node is not to wait for a swarm: also because there is no room for one. */
export type SwarmFailure = LeaseFailure | 'refused'

/** Fetch these pieces from the origin on behalf of all. */
export interface LeaseCommand {
  readonly node: number
  readonly swarm: number
  readonly firstPiece: number
  readonly pieceCount: number
  readonly origin: Origin
}

/** Something that a node is to know of a swarm. */
export interface SwarmCommand {
  readonly node: number
  readonly swarm: number
}

/** The node's lease is another's; the swarm may be gone by now. */
export interface RevocationCommand extends SwarmCommand {
  readonly digest: string
  /** Nothing came, or too little while others wait. */
  readonly why: 'stalled' | 'slow'
}

/** The node is to say the piece digests of a blob. */
export interface MapCommand {
  readonly node: number
  readonly digest: string
}

/** The node is not to wait for this swarm any more. */
export interface SwarmFailedCommand extends SwarmCommand {
  readonly reason: SwarmFailure
}

/** Something that the node said was not taken. */
export interface RefusalCommand {
  readonly node: number
  /** Why, for people. */
  readonly reason: string
}

const FIRST_TRANSFERS = 64
/** Numbers of a transfer. */
const ROW = 4

/** Transfers, in one flat array that is filled again at each tick: nodes by index. */
export class TransferList {
  #rows = new Int32Array(FIRST_TRANSFERS * ROW)
  #count = 0

  get count(): number {
    return this.#count
  }

  add(child: number, swarm: number, piece: number, parent: number): void {
    const row = this.#count++ * ROW
    if (row === this.#rows.length) this.#rows = grown(this.#rows, new Int32Array(row * 2))
    this.#rows[row] = child
    this.#rows[row + 1] = swarm
    this.#rows[row + 2] = piece
    this.#rows[row + 3] = parent
  }

  child(at: number): number {
    return this.#rows[at * ROW] as number
  }

  swarm(at: number): number {
    return this.#rows[at * ROW + 1] as number
  }

  piece(at: number): number {
    return this.#rows[at * ROW + 2] as number
  }

  parent(at: number): number {
    return this.#rows[at * ROW + 3] as number
  }

  clear(): void {
    this.#count = 0
  }
}

/** What the nodes are to do, in order within each list. The same object is filled again at the next tick. */
export class Commands {
  readonly assignments = new TransferList()
  /** Transfers that are overdue and given up. A child that goes on with one does no harm. */
  readonly cancellations = new TransferList()
  readonly leases: LeaseCommand[] = []
  /** Nodes that had a lease which brought too little: another node has it now, or will, or another blob is first. */
  readonly revocations: RevocationCommand[] = []
  /** Nodes of which some lease began or ended, also such as are down by now. */
  readonly lessees = new Set<number>()
  readonly maps: MapCommand[] = []
  /** Nodes that wait, and may wait on, since their swarm gets on. */
  readonly reassurances: SwarmCommand[] = []
  failures: SwarmFailedCommand[] = []
  refusals: RefusalCommand[] = []
  /** Swarms that are gone: their numbers mean nothing any more. */
  readonly closed: number[] = []

  /** The node went down: what events had to tell it before the tick is not for the next node of its index. */
  forget(node: number): void {
    this.failures = this.failures.filter((command) => command.node !== node)
    this.refusals = this.refusals.filter((command) => command.node !== node)
  }

  clear(): void {
    this.assignments.clear()
    this.cancellations.clear()
    this.leases.length = 0
    this.revocations.length = 0
    this.lessees.clear()
    this.maps.length = 0
    this.reassurances.length = 0
    this.failures.length = 0
    this.refusals.length = 0
    this.closed.length = 0
  }
}
