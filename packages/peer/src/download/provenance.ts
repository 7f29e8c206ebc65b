import { HaveSet } from '@shoal/core'
import type { BlobOrigin } from '../coordinator/events.ts'

/** Which pieces of a download came from which origin itself, rather than from other nodes. */
export class Provenance {
  readonly #pieceCount: number
  readonly #byOrigin = new Map<string, HaveSet>()

  constructor(pieceCount: number) {
    this.#pieceCount = pieceCount
  }

  /** The origin gave this node the piece. */
  add(origin: BlobOrigin, piece: number): void {
    const key = keyOf(origin)
    const pieces = this.#byOrigin.get(key) ?? new HaveSet(this.#pieceCount)
    pieces.add(piece)
    this.#byOrigin.set(key, pieces)
  }

  /** Whether the origin itself gave this node the piece. */
  isFrom(origin: BlobOrigin, piece: number): boolean {
    return this.#byOrigin.get(keyOf(origin))?.has(piece) === true
  }

  /** Whether it gave all of them. */
  isAllFrom(origin: BlobOrigin): boolean {
    return this.#byOrigin.get(keyOf(origin))?.isComplete === true
  }
}

function keyOf({ registry, repository }: BlobOrigin): string {
  return `${registry}/${repository}`
}
