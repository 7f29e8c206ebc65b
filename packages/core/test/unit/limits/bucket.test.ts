import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BURST_NS, charged, debtNs } from '../../../src/limits/bucket.ts'
import { SharedBucket } from '../../../src/limits/shared-bucket.ts'

const SECOND_NS = 1e9
const takes = fc.array(
  fc.record({ pauseNs: fc.integer({ min: 0, max: 3e8 }), bytes: fc.integer({ min: 1, max: 2 ** 20 }) }),
  { minLength: 1, maxLength: 100 },
)
const rates = fc.integer({ min: 64 * 1024, max: 2 ** 40 })

describe('token bucket', () => {
  it('lets no more through than the rate, the burst and one take, whoever waits as told', () => {
    fc.assert(
      fc.property(takes, rates, (steps, rate) => {
        const startNs = 5 * SECOND_NS
        let nowNs = startNs
        let paidUntilNs = 0
        let taken = 0
        for (const { pauseNs, bytes } of steps) {
          nowNs += pauseNs
          nowNs += debtNs(paidUntilNs, nowNs)
          const allowed = (rate * (nowNs - startNs + BURST_NS)) / SECOND_NS
          expect(taken).toBeLessThanOrEqual(allowed + 1)
          paidUntilNs = charged(paidUntilNs, nowNs, bytes, rate)
          taken += bytes
        }
      }),
    )
  })

  it('gives the whole rate to who always takes as soon as it may, however late it wakes within the burst', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: BURST_NS }), { minLength: 1 }), rates, (latenessNs, rate) => {
        const bytes = Math.ceil(rate / 16)
        let nowNs = SECOND_NS
        let paidUntilNs = nowNs
        for (const lateNs of latenessNs) {
          nowNs = Math.max(nowNs, paidUntilNs + lateNs)
          paidUntilNs = charged(paidUntilNs, nowNs, bytes, rate)
        }
        const spentNs = paidUntilNs - SECOND_NS
        expect(spentNs).toBeLessThanOrEqual(latenessNs.length * (Math.ceil((bytes / rate) * SECOND_NS) + 1))
      }),
    )
  })

  it('saves up a burst and no more', () => {
    const rate = 1_000_000
    const longIdleNs = 1e15
    expect(debtNs(charged(0, longIdleNs, rate / 10, rate), longIdleNs)).toBe(0)
    expect(debtNs(charged(0, longIdleNs, rate / 10 + rate, rate), longIdleNs)).toBe(SECOND_NS)
  })
})

describe('shared bucket', () => {
  const newBuckets = (count: number, clock: { nowNs: number }) => {
    const cells = new BigInt64Array(new SharedArrayBuffer(8))
    return Array.from({ length: count }, () => new SharedBucket({ cells, index: 0 }, () => clock.nowNs))
  }

  it('is one for all who have it', () => {
    const clock = { nowNs: 1e12 }
    const [one, other] = newBuckets(2, clock) as [SharedBucket, SharedBucket]
    one.limitTo(1_000_000)
    other.limitTo(1_000_000)
    expect(one.tryTake(600_000, 0)).toBe(0)
    expect(other.tryTake(1, 0)).toBe(SECOND_NS / 2)
    other.charge(100_000)
    expect(one.debtNs()).toBe(0.6 * SECOND_NS)
    clock.nowNs += 0.6 * SECOND_NS
    expect(other.tryTake(1, 5)).toBe(5)
    expect(other.tryTake(1, 0)).toBe(0)
  })

  it('takes nothing and waits for nothing without a limit', () => {
    const [bucket] = newBuckets(1, { nowNs: 1 }) as [SharedBucket]
    bucket.charge(1e12)
    expect(bucket.tryTake(1e12, 0)).toBe(0)
    expect(bucket.isLimited).toBe(false)
    bucket.limitTo(65_536)
    expect(bucket.debtNs()).toBe(0)
  })

  it('wakes its sleepers when the limit changes, and none that was cancelled', () => {
    const [bucket] = newBuckets(1, { nowNs: 1 }) as [SharedBucket]
    const woken: string[] = []
    bucket.sleep(1e15, () => woken.push('kept'))
    bucket.sleep(1e15, () => woken.push('cancelled')).cancel()
    // One that is woken may end others in doing so.
    bucket.sleep(1e15, () => last.cancel())
    const last = bucket.sleep(1e15, () => woken.push('cancelled late'))
    bucket.limitTo(1_000_000)
    expect(woken).toEqual(['kept'])
    bucket.limitTo(0)
    expect(woken).toEqual(['kept'])
  })
})
