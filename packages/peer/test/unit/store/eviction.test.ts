import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type EvictionCandidate, planEviction, type StoreSpace } from '../../../src/store/eviction.ts'

const blobs = fc.uniqueArray(
  fc.record({
    digest: fc.string({ minLength: 1, maxLength: 4 }),
    sizeBytes: fc.nat(1000),
    usedAtMs: fc.nat(50),
    isInUse: fc.boolean(),
    isSpare: fc.boolean(),
  }),
  { selector: ({ digest }) => digest, maxLength: 30 },
)
const space = fc
  .record({
    freeBytes: fc.integer({ min: -5000, max: 20_000 }),
    quotaBytes: fc.nat(20_000),
    minFreeBytes: fc.nat(5000),
    highWatermark: fc.double({ min: 0.5, max: 1, noNaN: true }),
    lowWatermark: fc.double({ min: 0, max: 0.5, noNaN: true }),
  })
  .map((value): StoreSpace => value)
const needed = fc.nat(5000)

const sum = (of: readonly EvictionCandidate[]) => of.reduce((total, { sizeBytes }) => total + sizeBytes, 0)

/** What may be kept, and where an eviction ends. */
function limits(of: readonly EvictionCandidate[], { quotaBytes, freeBytes, minFreeBytes, ...marks }: StoreSpace) {
  const onDisk = Math.max(0, sum(of) + freeBytes - minFreeBytes)
  const quota = quotaBytes === 0 ? Number.POSITIVE_INFINITY : quotaBytes
  const capacity = Math.min(quota, onDisk)
  return { onDisk, quota, capacity, low: capacity * marks.lowWatermark, high: quota * marks.highWatermark }
}

describe('planEviction', () => {
  it('never takes a blob that is in use', () => {
    fc.assert(
      fc.property(blobs, space, needed, (all, room, bytes) => {
        expect(planEviction(all, room, bytes).victims.every(({ isInUse }) => !isInUse)).toBe(true)
      }),
    )
  })

  it('takes spare ones first, and of each kind those longest unused', () => {
    const rank = ({ isSpare, usedAtMs }: EvictionCandidate) => (isSpare ? 0 : 1000) + usedAtMs
    fc.assert(
      fc.property(blobs, space, needed, (all, room, bytes) => {
        const { victims } = planEviction(all, room, bytes)
        const ranks = victims.map(rank)
        expect(ranks).toEqual([...ranks].sort((a, b) => a - b))
        const last = ranks.at(-1) ?? -1
        const spared = all.filter((blob) => !victims.includes(blob) && !blob.isInUse && blob.sizeBytes > 0)
        if (victims.length > 0) expect(spared.every((blob) => rank(blob) >= last)).toBe(true)
      }),
    )
  })

  it('stops at the low watermark, and not before it while something may go', () => {
    fc.assert(
      fc.property(blobs, space, needed, (all, room, bytes) => {
        const { victims, hasRoom } = planEviction(all, room, bytes)
        if (victims.length === 0) return
        const { low } = limits(all, room)
        expect(sum(all) - sum(victims.slice(0, -1)) + bytes).toBeGreaterThan(low)
        const isExhausted = all.every((blob) => blob.isInUse || blob.sizeBytes === 0 || victims.includes(blob))
        if (!isExhausted) expect(sum(all) - sum(victims) + bytes).toBeLessThanOrEqual(low)
        if (bytes > 0) expect(hasRoom).toBe(true)
      }),
    )
  })

  it('takes nothing while no limit is passed, and then there is room', () => {
    fc.assert(
      fc.property(blobs, space, needed, (all, room, bytes) => {
        const { onDisk, high } = limits(all, room)
        const isOver = sum(all) + bytes > onDisk || sum(all) + bytes > high
        const { victims, hasRoom, reason } = planEviction(all, room, bytes)
        expect(reason !== undefined).toBe(isOver)
        if (!isOver) expect({ victims, hasRoom }).toEqual({ victims: [], hasRoom: true })
      }),
    )
  })

  it('says there is room exactly when what is needed fits beside what is in use, and takes nothing in vain', () => {
    fc.assert(
      fc.property(blobs, space, needed, (all, room, bytes) => {
        const { victims, hasRoom, reason } = planEviction(all, room, bytes)
        const { capacity } = limits(all, room)
        const inUse = sum(all.filter(({ isInUse }) => isInUse))
        if (reason !== undefined) expect(hasRoom).toBe(inUse + bytes <= capacity)
        if (hasRoom) expect(sum(all) - sum(victims) + bytes).toBeLessThanOrEqual(capacity)
        else if (bytes > 0) expect(victims).toEqual([])
      }),
    )
  })

  it('names the disk before the quota as the reason', () => {
    const one = [{ digest: 'a', sizeBytes: 95, usedAtMs: 0, isInUse: false, isSpare: false }]
    const marks = { highWatermark: 0.9, lowWatermark: 0.8 }
    expect(planEviction(one, { ...marks, quotaBytes: 100, freeBytes: 50, minFreeBytes: 0 }, 0).reason).toBe('quota')
    expect(planEviction(one, { ...marks, quotaBytes: 100, freeBytes: 50, minFreeBytes: 51 }, 0).reason).toBe('disk')
  })
})
