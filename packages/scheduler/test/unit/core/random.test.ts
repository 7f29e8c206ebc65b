import { describe, expect, it } from 'vitest'
import { Random } from '../../../src/core/random.ts'

const DRAWS = 100_000

describe('Random', () => {
  it('gives the same numbers for the same seed, and others for another', () => {
    const drawn = (seed: number) => {
      const random = new Random(seed)
      return Array.from({ length: 100 }, () => random.below(2 ** 31))
    }
    expect(drawn(7)).toEqual(drawn(7))
    expect(drawn(7)).not.toEqual(drawn(8))
    expect(drawn(0)).not.toEqual(drawn(1))
  })

  it('gives the numbers of xoshiro128++', () => {
    // The reference implementation (https://prng.di.unimi.it/xoshiro128plusplus.c), in numbers of any length.
    const rotated = (word: bigint, by: bigint) => ((word << by) | (word >> (32n - by))) & 0xffff_ffffn
    let state = 5n
    const words = Array.from({ length: 4 }, () => {
      state = (state + 0x9e3779b9n) & 0xffff_ffffn
      let word = ((state ^ (state >> 16n)) * 0x21f0aaadn) & 0xffff_ffffn
      word = ((word ^ (word >> 15n)) * 0x735a2d97n) & 0xffff_ffffn
      return word ^ (word >> 15n)
    }) as [bigint, bigint, bigint, bigint]
    const random = new Random(5)
    for (let i = 0; i < 1000; i++) {
      const next = (rotated((words[0] + words[3]) & 0xffff_ffffn, 7n) + words[0]) & 0xffff_ffffn
      const shifted = (words[1] << 9n) & 0xffff_ffffn
      words[2] ^= words[0]
      words[3] ^= words[1]
      words[1] ^= words[2]
      words[0] ^= words[3]
      words[2] ^= shifted
      words[3] = rotated(words[3], 11n)
      expect(random.below(2 ** 31)).toBe(Number(next >> 1n))
    }
  })

  it('draws whole numbers below a bound, each about as often', () => {
    const random = new Random(1)
    const counts = new Array<number>(10).fill(0)
    for (let i = 0; i < DRAWS; i++) {
      const drawn = random.below(10)
      counts[drawn] = (counts[drawn] as number) + 1
    }
    expect(counts).toHaveLength(10)
    for (const count of counts) expect(Math.abs(count / DRAWS - 0.1)).toBeLessThan(0.01)
    expect(random.below(1)).toBe(0)
  })

  it('hits with the chance that it is asked for, and gives fractions below 1', () => {
    const random = new Random(2)
    let hits = 0
    for (let i = 0; i < DRAWS; i++) hits += Number(random.hits(0.25))
    expect(Math.abs(hits / DRAWS - 0.25)).toBeLessThan(0.01)
    expect(random.hits(0)).toBe(false)
    expect(random.hits(1)).toBe(true)
    for (let i = 0; i < DRAWS; i++) {
      const unit = random.unit()
      expect(unit >= 0 && unit < 1).toBe(true)
    }
  })
})
