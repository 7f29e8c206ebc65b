import { clearBit, setBit } from './bitset.ts'

/** Level of a piece with `copies` copies: 0 for none, else 1 + ⌊log2 copies⌋. */
function levelOf(copies: number): number {
  return 32 - Math.clz32(copies)
}

/** More levels than a swarm of 2^20 peers can reach. */
const LEVELS = 22

/**
 * How many copies of each piece there are or will be (`cnt` and the level masks `LV` of SCHEDULING.md): ordinary
 * holders plus transfers in flight to ordinary peers. Injectors do not count, so that level 0 is what they owe.
 */
export class Rarity {
  readonly counts: Int32Array
  /** Bitset of level l at word `l * words`. */
  readonly levels: Uint32Array
  /** How many pieces are at each level. */
  readonly sizes = new Int32Array(LEVELS)
  readonly #words: number

  constructor(pieces: number, words: number) {
    this.#words = words
    this.counts = new Int32Array(pieces)
    this.levels = new Uint32Array(LEVELS * words)
    for (let piece = 0; piece < pieces; piece++) setBit(this.levels, 0, piece)
    this.sizes[0] = pieces
  }

  add(piece: number, change: 1 | -1): void {
    const before = this.counts[piece] as number
    const after = before + change
    this.counts[piece] = after
    const from = levelOf(before)
    const to = levelOf(after)
    if (from === to) return
    clearBit(this.levels, from * this.#words, piece)
    setBit(this.levels, to * this.#words, piece)
    this.sizes[from] = (this.sizes[from] as number) - 1
    this.sizes[to] = (this.sizes[to] as number) + 1
  }
}
