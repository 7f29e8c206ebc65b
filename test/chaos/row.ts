import type { Pulled } from '@shoal/bench'
import type { Scene } from './scene.ts'

/** What came of a fault, beside what is expected of every pull: that it ends well, in time. Nodes by their numbers. */
interface Struck {
  /** Nodes whose own pull may break, since their process ended. */
  readonly broken?: readonly number[]
  /** Nodes whose pull must end well, but whose time does not count: they stood still. */
  readonly late?: readonly number[]
  /** More pulls that must end well, whose time does not count. */
  readonly more?: readonly Promise<Pulled>[]
  /** What is done once all other pulls have ended. */
  readonly afterOthers?: () => void
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
  /** Strikes at its moment of the pull, which has begun. */
  strike(scene: Scene): Promise<Struck>
}
