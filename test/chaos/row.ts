import type { Pulled } from '@shoal/bench'
import type { GateOptions } from './gate.ts'
import type { Scene } from './scene.ts'

/** What came of a fault, beside what is expected of every pull: that it ends well, in time. Nodes by their numbers. */
export interface Struck {
  /** Nodes whose own pull may break, since their process ended. */
  readonly broken?: readonly number[]
  /** Nodes whose pull must end well, but whose time does not count: they stood still, or were slow. */
  readonly late?: readonly number[]
  /** More pulls that must end well, whose time does not count. */
  readonly more?: readonly Promise<Pulled>[]
  /** What is done once all other pulls have ended. */
  readonly afterOthers?: () => void
  /** Looks, once all pulls have ended, whether what must be true of the cluster is; throws Error that says what is not. */
  readonly check?: () => Promise<void>
}

/** A fault, and the cluster that it strikes. */
export interface Row {
  readonly name: string
  /** For people. */
  readonly fault: string
  /** 1 unless told; 0: none runs, though nodes are told of one. */
  readonly schedulers?: 0 | 1 | 2
  /** Room on the disk of the first node, bytes; it is not limited unless told. */
  readonly diskBytes?: number
  /** More options of every node. */
  readonly nodeOptions?: object
  /** Nodes reach the registry through a gate; not unless told. */
  readonly gate?: GateOptions
  /** Every service has a wall clock of its own, which the row may step; not unless told. */
  readonly hasOwnClocks?: boolean
  /** Nodes that do not pull with the others: the row has them pull when it is time. */
  readonly waiting?: readonly number[]
  /** How many times as long as undisturbed ones the pulls that are timed may take; not judged unless told. */
  readonly mostSlowdown?: number
  /**
   * How many seconds more than the median undisturbed one the median pull may take; not judged unless told, and not of
   * few runs, in which chance counts for more.
   */
  readonly mostLostSeconds?: number
  /** How many times the blob the origin may send; not judged unless told. */
  readonly mostOriginCopies?: number
  /** Done before the pulls begin. */
  prepare?(scene: Scene): Promise<void>
  /** Strikes at its moment of the pull, which has begun. */
  strike(scene: Scene): Promise<Struck>
}
