import { Avoidance } from './avoidance.ts'
import { Blobs } from './blobs.ts'
import { Commands, type LeaseFailure } from './commands.ts'
import { LeaseTurns } from './lease-turns.ts'
import { type Bound, LIMITS, type Limits } from './limits.ts'
import { Nodes } from './nodes.ts'
import type { Usual } from './pace.ts'
import type { Random } from './random.ts'
import { Registries } from './registries.ts'
import type { BytesBySource, Swarm } from './swarm.ts'

/** What the core is told. Times in milliseconds. */
export interface CoreOptions {
  /** A lease without a piece for so long moves on to another node. */
  readonly leaseStallMs: number
  /** Leases at once; undefined: no bound. */
  readonly mostLeases?: number
  /** Bytes a second, below which a lease loses its turn to another registry's; undefined or 0: it keeps it. */
  readonly leastLeaseRate?: number
  /** An assigned piece that is neither done nor failed for so long is assigned anew. */
  readonly assignmentTimeoutMs: number
  /** In place of `LIMITS`. */
  readonly limits?: Partial<Limits>
}

/** Why an assigned piece is not held. */
export type PieceFailure =
  | 'unreachable'
  | 'busy'
  | 'not_held'
  | 'corrupt'
  | 'stalled'
  | 'local'
  | 'protocol'
  | 'timeout'

/** How a lease ended. */
export type LeaseOutcome = LeaseFailure | 'granted' | 'done' | 'stalled' | 'slow' | 'holder_gone'

/** Totals since the start, for metrics. */
export interface Counters {
  assignments: number
  readonly leases: Record<LeaseOutcome, number>
  readonly pieceFailures: Record<PieceFailure, number>
  /** Piece digests that contradict what was known. */
  readonly bytes: BytesBySource
  digestConflicts: number
  /** What was refused, by the bound that was met. */
  readonly refused: Record<Bound, number>
  bans: number
  pauses: number
}

/** Hears that node `child` has got a piece of so many bytes now. `parent` is the node that sent it, or ORIGIN. */
export type PieceObserver = (swarm: Swarm, child: number, parent: number, bytes: number, now: number) => void

/** All that the core remembers. */
export class State {
  readonly options: CoreOptions
  readonly limits: Limits
  readonly random: Random
  /** Milliseconds, as the caller last said. */
  now = 0
  readonly nodes = new Nodes()
  readonly blobs = new Blobs()
  /** Holdings of all nodes together. */
  holdings = 0
  readonly swarms = new Map<number, Swarm>()
  /** Pieces of all swarms together. */
  pieces = 0
  /** Swarms that nobody wants, the longest idle first. */
  readonly idle = new Set<Swarm>()
  readonly leaseTurns: LeaseTurns
  readonly registries = new Registries()
  readonly avoidance = new Avoidance()
  /** Node ids that sent wrong bytes to several nodes, and until when they are not believed; outlives a reconnect. */
  readonly banned = new Map<string, number>()
  commands = new Commands()
  readonly dirty: Swarm[] = []
  /** What the swarm that learnt last can tell a new one. */
  usual: Usual = { controlMs: 0, msPerByte: 1 }
  readonly counters: Counters = {
    assignments: 0,
    leases: {
      granted: 0,
      done: 0,
      stalled: 0,
      slow: 0,
      holder_gone: 0,
      unauthorized: 0,
      not_found: 0,
      unavailable: 0,
      size_mismatch: 0,
      digest_mismatch: 0,
      local: 0,
    },
    pieceFailures: { unreachable: 0, busy: 0, not_held: 0, corrupt: 0, stalled: 0, local: 0, protocol: 0, timeout: 0 },
    bytes: { origin: 0, seed: 0, peer: 0 },
    digestConflicts: 0,
    refused: {
      blobSize: 0,
      nodeHoldings: 0,
      holdings: 0,
      blobs: 0,
      nodeJoins: 0,
      nodePieces: 0,
      nodeSwarms: 0,
      swarms: 0,
      pieces: 0,
    },
    bans: 0,
    pauses: 0,
  }

  /** Hears of each piece that a node has got. */
  pieceArrived: PieceObserver | undefined

  constructor(options: CoreOptions, random: Random) {
    this.options = options
    this.limits = { ...LIMITS, ...options.limits }
    const most = options.mostLeases ?? Number.POSITIVE_INFINITY
    this.leaseTurns = new LeaseTurns(most, this.registries, (index) => this.nodes.get(index))
    this.random = random
  }

  /** The policy is to look at this swarm at the next tick. */
  touch(swarm: Swarm): void {
    swarm.fruitless = 0
    if (swarm.isDirty) return
    swarm.isDirty = true
    this.dirty.push(swarm)
  }
}
