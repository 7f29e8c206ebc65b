import type { HaveSet } from '@shoal/core'
import type { Origin } from './sources.ts'

/** In place of a parent: the piece came from the origin. */
export const ORIGIN = -1
/** In place of a parent: the node that sent the piece is not up any more. */
export const GONE = -2

/** What a node says when it wants a blob. */
export interface JoinInfo {
  readonly digest: string
  readonly sizeBytes: number
  /** What it holds of the blob, whatever was known before. */
  readonly have: HaveSet
  readonly origin: Origin
  /** 1 is the most urgent, 3 the least. */
  readonly priority: number
}
