import { clearBit, hasBit, setBit, wordsFor } from '../core/bitset.ts'

/** A set of small numbers, a bit for each. */
export class IndexBits {
  #words = new Uint32Array(0)

  has(index: number): boolean {
    return index >>> 5 < this.#words.length && hasBit(this.#words, 0, index)
  }

  add(index: number): void {
    const words = wordsFor(index + 1)
    if (words > this.#words.length) {
      const grown = new Uint32Array(Math.max(words, this.#words.length * 2))
      grown.set(this.#words)
      this.#words = grown
    }
    setBit(this.#words, 0, index)
  }

  delete(index: number): void {
    if (index >>> 5 < this.#words.length) clearBit(this.#words, 0, index)
  }
}
