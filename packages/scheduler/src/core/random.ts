const WORDS = 4
/** Of each number that are used. */
const BITS = 31

/**
 * Random numbers, the same for the same seed (xoshiro128++, https://prng.di.unimi.it). All that is kept and returned are
 * whole numbers of 32 bits: fractions, of which the policy draws a dozen for each piece, are objects where they are
 * returned by what the compiler does not inline, and a seventh of what the scheduler's collector had to collect.
 */
export class Random {
  readonly #words = new Int32Array(WORDS)

  /** @param seed any whole number; of it the lower 32 bits count */
  constructor(seed: number) {
    // Words that look random from the start, and are not all 0 (splitmix32).
    for (let i = 0, state = seed | 0; i < WORDS; i++) {
      state = (state + 0x9e3779b9) | 0
      let word = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97)
      this.#words[i] = word ^ (word >>> 15)
    }
  }

  /** A whole number of at least 0 and below `bound`, which is at most 2^31. */
  below(bound: number): number {
    return Math.floor((this.#bits() * bound) / 2 ** BITS)
  }

  /** True with this chance, of 0 to 1. */
  hits(chance: number): boolean {
    return this.#bits() < chance * 2 ** BITS
  }

  /** A number of at least 0 and below 1. */
  unit(): number {
    return this.#bits() / 2 ** BITS
  }

  /** The upper bits of the next number: with one bit more it would not always be a small integer. */
  #bits(): number {
    const words = this.#words
    let a = words[0] as number
    let b = words[1] as number
    let c = words[2] as number
    let d = words[3] as number
    const sum = (a + d) | 0
    const next = ((sum << 7) | (sum >>> 25)) + a
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    words[0] = a
    words[1] = b
    words[2] = c ^ shifted
    words[3] = (d << 11) | (d >>> 21)
    return next >>> (32 - BITS)
  }
}
