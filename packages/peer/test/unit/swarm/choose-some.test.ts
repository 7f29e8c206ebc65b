import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chooseSome } from '../../../src/swarm/choose-some.ts'

const randomness = fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }))

describe('chooseSome', () => {
  it('chooses different items, as many as there are and are wanted', () => {
    const items = fc.uniqueArray(fc.integer(), { maxLength: 50 })
    fc.assert(
      fc.property(items, fc.integer({ min: 0, max: 60 }), randomness, (items, count, numbers) => {
        const chosen = chooseSome(items, count, () => numbers.next().value)
        expect(new Set(chosen).size).toBe(Math.min(count, items.length))
        expect(items).toEqual(expect.arrayContaining(chosen))
      }),
    )
  })

  it('gives every pair in either order when every way of choosing is gone through', () => {
    const pairs = [0, 1 / 3, 2 / 3].flatMap((first) =>
      [0, 0.5].map((second) => {
        const numbers = [first, second]
        return chooseSome(['a', 'b', 'c'], 2, () => numbers.shift() ?? 0).join('')
      }),
    )
    expect(pairs.sort()).toEqual(['ab', 'ac', 'ba', 'bc', 'ca', 'cb'])
  })
})
