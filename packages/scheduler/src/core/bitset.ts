/** Words of 32 bits that `bits` bits take. */
export function wordsFor(bits: number): number {
  return (bits + 31) >>> 5
}

/** Whether bit `index` is set in the bitset that starts at word `base`. */
export function hasBit(words: Uint32Array, base: number, index: number): boolean {
  return ((words[base + (index >>> 5)] as number) & (1 << (index & 31))) !== 0
}

export function setBit(words: Uint32Array, base: number, index: number): void {
  const at = base + (index >>> 5)
  words[at] = (words[at] as number) | (1 << (index & 31))
}

export function clearBit(words: Uint32Array, base: number, index: number): void {
  const at = base + (index >>> 5)
  words[at] = (words[at] as number) & ~(1 << (index & 31))
}

/** Position of the lowest set bit of a word that is not 0. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word)
}

/** The first bit at or after 0 that is clear; `count` when all are set. */
export function firstClear(words: Uint32Array, base: number, count: number): number {
  for (let at = 0; at << 5 < count; at++) {
    const inverse = ~(words[base + at] as number)
    if (inverse !== 0) return Math.min(count, (at << 5) + lowestBit(inverse))
  }
  return count
}
