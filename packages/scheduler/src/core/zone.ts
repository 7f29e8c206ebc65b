import { clearBit, setBit } from './bitset.ts'
import { IndexedSet } from './indexed-set.ts'

/** The peers of a swarm in one zone, and which pieces the zone has. Copies between zones are costly: one for each. */
export class Zone {
  /** Ordinary peers that could send (`I` of SCHEDULING.md). */
  readonly senders = new IndexedSet()
  /** Peers that could receive (`R`). */
  readonly receivers = new IndexedSet()
  /** Pieces of which no ordinary peer of the zone has, or is about to have, a copy. */
  readonly lacking: Uint32Array
  readonly #copies: Int32Array
  /** Pieces that an injector of the zone holds: they need not come from elsewhere. */
  readonly #supplied: Uint32Array
  readonly #supplies: Int32Array

  constructor(pieces: number, words: number) {
    this.#copies = new Int32Array(pieces)
    this.#supplies = new Int32Array(pieces)
    this.#supplied = new Uint32Array(words)
    this.lacking = new Uint32Array(words)
    for (let piece = 0; piece < pieces; piece++) setBit(this.lacking, 0, piece)
  }

  /** Word `at` of the pieces that may come from another zone (`absent` of SCHEDULING.md). */
  absentWord(at: number): number {
    return (this.lacking[at] as number) & ~(this.#supplied[at] as number)
  }

  /** An ordinary peer has, or is about to have, a copy; or not any more. */
  copied(piece: number, change: 1 | -1): void {
    const copies = (this.#copies[piece] as number) + change
    this.#copies[piece] = copies
    if (copies === 0) setBit(this.lacking, 0, piece)
    else if (copies === 1) clearBit(this.lacking, 0, piece)
  }

  /** An injector holds the piece; or not any more. */
  supply(piece: number, change: 1 | -1): void {
    const supplies = (this.#supplies[piece] as number) + change
    this.#supplies[piece] = supplies
    if (supplies === 0) clearBit(this.#supplied, 0, piece)
    else if (supplies === 1) setBit(this.#supplied, 0, piece)
  }
}
