import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Pace } from '../../../src/swarm/pace.ts'

describe('Pace', () => {
  it('gives the burst at once and the rest one by one', () => {
    const pace = new Pace({ burst: 3, perSecond: 10 })
    expect([0, 0, 0, 0, 0].map((nowMs) => pace.take(nowMs))).toEqual([0, 0, 0, 100, 200])
    expect(pace.take(10_000)).toBe(0)
  })

  it('never gives more than burst and rate allow, in any stretch of time', () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 100 })
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 20 }), (waits, burst, perSecond) => {
        const pace = new Pace({ burst, perSecond })
        let nowMs = 0
        const turns = waits.map((wait) => {
          nowMs += wait
          return nowMs + pace.take(nowMs)
        })
        for (const [i, from] of turns.entries()) {
          for (const [j, to] of turns.entries()) {
            if (j <= i) continue
            expect(j - i + 1).toBeLessThanOrEqual(burst + ((to - from) * perSecond) / 1000 + 1e-6)
          }
        }
      }),
    )
  })
})
