import type { Origin } from './swarm.ts'

/** Why a lease, or the whole swarm, could not be carried out. */
export type LeaseFailure = 'unauthorized' | 'not_found' | 'unavailable' | 'size_mismatch' | 'digest_mismatch' | 'local'

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
}

/** The node is to say the piece digests of a blob. */
export interface MapCommand {
  readonly node: number
  readonly digest: string
}

/** The node is not to wait for this swarm any more. */
export interface SwarmFailedCommand extends SwarmCommand {
  readonly reason: LeaseFailure
}

/** Numbers that one entry of `Commands.assignments` and `Commands.cancellations` takes. */
export const ASSIGNMENT_STRIDE = 4

/** What the nodes are to do, in order within each list. The same object is filled again at the next tick. */
export class Commands {
  /** Child, swarm, piece, parent (nodes by index) of each assignment, one after another. */
  readonly assignments: number[] = []
  /** The same, of transfers that are overdue and given up. A child that goes on with one does no harm. */
  readonly cancellations: number[] = []
  readonly leases: LeaseCommand[] = []
  /** Nodes that had a lease which brought nothing: another node has it now, or will. */
  readonly revocations: RevocationCommand[] = []
  /** Nodes of which some lease began or ended, also such as are down by now. */
  readonly lessees = new Set<number>()
  readonly maps: MapCommand[] = []
  /** Nodes that wait, and may wait on, since their swarm gets on. */
  readonly reassurances: SwarmCommand[] = []
  failures: SwarmFailedCommand[] = []
  /** Swarms that are gone: their numbers mean nothing any more. */
  readonly closed: number[] = []

  /** The node went down: what events had to tell it before the tick is not for the next node of its index. */
  forget(node: number): void {
    this.failures = this.failures.filter((command) => command.node !== node)
  }

  clear(): void {
    this.assignments.length = 0
    this.cancellations.length = 0
    this.leases.length = 0
    this.revocations.length = 0
    this.lessees.clear()
    this.maps.length = 0
    this.reassurances.length = 0
    this.failures.length = 0
    this.closed.length = 0
  }
}
