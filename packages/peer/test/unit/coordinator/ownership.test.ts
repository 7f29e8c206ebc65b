import { digestOf } from '@shoal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Ownership } from '../../../src/coordinator/ownership.ts'

const SETTLE_MS = 10_000
const digests = Array.from({ length: 50 }, (_, i) => digestOf(`blob ${i}`))
const owners = (ownership: Ownership) => new Set(digests.map((digest) => ownership.ownerOf(digest)))
const heirs = (ownership: Ownership) => new Set(digests.map((digest) => ownership.heirOf(digest)))
const a = { address: 'a:1', startedAtMs: -100_000 }

describe('ownership', () => {
  it('is nobody’s without schedulers', () => {
    const nobody = new Ownership([], 0, SETTLE_MS)
    expect(owners(nobody)).toEqual(new Set([undefined]))
    expect(heirs(nobody)).toEqual(new Set([undefined]))
    expect(nobody.changesAtMs).toBeUndefined()
  })

  it('is shared at once by schedulers that started about the same time, however young they are', () => {
    const both = new Ownership(
      [
        { ...a, startedAtMs: 0 },
        { address: 'b:1', startedAtMs: 2000 },
      ],
      2000,
      SETTLE_MS,
    )
    expect(owners(both)).toEqual(new Set(['a:1', 'b:1']))
    expect(both.changesAtMs).toBeUndefined()
  })

  it('comes to one that is new beside an old one when all nodes had the time to find it', () => {
    const b = { address: 'b:1', startedAtMs: 5000 }
    const early = new Ownership([a, b], 14_999, SETTLE_MS)
    expect(owners(early)).toEqual(new Set(['a:1']))
    expect(heirs(early)).toEqual(new Set(['a:1', 'b:1']))
    expect(early.changesAtMs).toBe(15_000)
    const late = new Ownership([a, b], 15_000, SETTLE_MS)
    expect(owners(late)).toEqual(heirs(early))
    expect(late.changesAtMs).toBeUndefined()
  })

  it('is the new one’s alone when there is no other', () => {
    expect(owners(new Ownership([{ address: 'b:1', startedAtMs: 0 }], 0, SETTLE_MS))).toEqual(new Set(['b:1']))
  })

  it('is always somebody’s, and the heir’s in the end', () => {
    const scheduler = fc.record({
      address: fc.integer({ min: 1, max: 99 }).map((port) => `s:${port}`),
      startedAtMs: fc.integer({ min: -50_000, max: 50_000 }),
    })
    const live = fc.uniqueArray(scheduler, { minLength: 1, maxLength: 16, selector: ({ address }) => address })
    fc.assert(
      fc.property(live, fc.integer({ min: -50_000, max: 50_000 }), (schedulers, nowMs) => {
        let ownership = new Ownership(schedulers, nowMs, SETTLE_MS)
        for (let steps = 0; ; steps++) {
          expect(owners(ownership)).not.toContain(undefined)
          if (ownership.changesAtMs === undefined) break
          expect(ownership.changesAtMs).toBeGreaterThan(nowMs)
          expect(steps).toBeLessThan(16)
          ownership = new Ownership(schedulers, ownership.changesAtMs, SETTLE_MS)
        }
        for (const digest of digests) expect(ownership.ownerOf(digest)).toBe(ownership.heirOf(digest))
      }),
    )
  })
})
