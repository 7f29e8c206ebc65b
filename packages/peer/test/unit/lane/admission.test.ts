import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FREE, isAdmitted } from '../../../src/lane/admission.ts'
import { createSlotsMemory, SlotsReader, UploadSlots } from '../../../src/lane/upload-slots.ts'

const holdings = fc.array(fc.integer({ min: FREE, max: 12 }), { maxLength: 60 })
const slotCounts = fc.integer({ min: 1, max: 24 })

const heldBy = (holders: readonly number[], requester: number) =>
  holders.filter((holder) => holder === requester).length

describe('admission', () => {
  it('gives a free slot to anybody', () => {
    fc.assert(
      fc.property(holdings, slotCounts, fc.integer({ min: 1, max: 12 }), (others, slots, claimant) => {
        const holders = [...others, claimant]
        fc.pre(holders.length - heldBy(holders, FREE) <= slots)
        expect(isAdmitted(holders, claimant, slots)).toBe(true)
      }),
    )
  })

  it('lets nobody have more than its share beyond the slots', () => {
    fc.assert(
      fc.property(holdings, slotCounts, fc.integer({ min: 1, max: 12 }), (others, slots, claimant) => {
        const holders = [...others, claimant]
        const taken = holders.filter((holder) => holder !== FREE)
        fc.pre(taken.length > slots && isAdmitted(holders, claimant, slots))
        expect(heldBy(holders, claimant)).toBeLessThanOrEqual(Math.max(1, Math.floor(slots / new Set(taken).size)))
        expect(taken.length).toBeLessThanOrEqual(2 * slots)
      }),
    )
  })

  it('refuses nobody within its share, whatever another has borrowed', () => {
    fc.assert(
      fc.property(slotCounts, fc.integer({ min: 1, max: 24 }), fc.integer({ min: 0, max: 24 }), (slots, many, few) => {
        // One that took all there were, and others that come after it and each take up to their share.
        const requesters = Math.min(many, slots - 1)
        const share = Math.max(1, Math.floor(slots / (requesters + 1)))
        const holders = Array.from({ length: slots }, () => 1)
        for (let other = 0; other < requesters; other++) {
          for (let i = 0; i < Math.min(few, share); i++) {
            holders.push(2 + other)
            expect(isAdmitted(holders, 2 + other, slots)).toBe(true)
          }
        }
        expect(isAdmitted([...holders, 1], 1, slots)).toBe(false)
      }),
    )
  })
})

describe('upload slots', () => {
  it('are the same for all threads, and freed when a thread dies', () => {
    const memory = createSlotsMemory(4, 2)
    const [one, two] = [new UploadSlots(memory, 0), new UploadSlots(memory, 1)]
    const reader = new SlotsReader(memory)
    const greedy = one.requesterOf('greedy')
    expect(two.requesterOf('greedy')).toBe(greedy)
    const modest = two.requesterOf('modest')
    expect(modest).not.toBe(greedy)
    expect([one, two, one, two].every((slots) => slots.take(greedy, 4) !== undefined)).toBe(true)
    expect(two.take(greedy, 4)).toBeUndefined()
    expect(two.take(modest, 4)).toBeDefined()
    expect(one.take(modest, 4)).toBeDefined()
    expect(one.take(modest, 4)).toBeUndefined()
    expect(one.countRequesters()).toBe(2)
    expect(reader.held()).toBe(6)
    reader.clearThread(0)
    expect(reader.held()).toBe(3)
    reader.clearThread(1)
    expect(reader.held()).toBe(0)
    expect(one.countRequesters()).toBe(0)
  })

  it('never hold more than twice the slots, and give all back', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.nat(2))), slotCounts, (steps, slots) => {
        const memory = createSlotsMemory(slots, 3)
        const threads = [0, 1, 2].map((thread) => new UploadSlots(memory, thread))
        const reader = new SlotsReader(memory)
        const taken: number[] = []
        for (const [requester, thread] of steps) {
          const slot = threads[thread]?.take(requester, slots)
          if (slot !== undefined) taken.push(slot)
          expect(reader.held()).toBe(taken.length)
          expect(taken.length).toBeLessThanOrEqual(2 * slots)
        }
        for (const slot of taken) threads[0]?.free(slot)
        expect(reader.held()).toBe(0)
      }),
    )
  })
})
