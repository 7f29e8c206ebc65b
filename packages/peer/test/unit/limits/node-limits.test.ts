import { describe, expect, it } from 'vitest'
import { NodeLimits } from '../../../src/limits/node-limits.ts'
import { type Limits, LOWEST_LIMIT, NO_LIMITS } from '../../../src/limits/options.ts'

const MIB = 1024 * 1024
const originOf = (limits: Limits) => limits.originBytesPerSecond

describe('the limit of what a node fetches from origins', () => {
  it('is the lower one of its own and what the schedulers leave it', () => {
    const limits = new NodeLimits({ ...NO_LIMITS, originBytesPerSecond: 4 * MIB })
    const heard: number[] = []
    limits.follow((change) => heard.push(originOf(change)))
    limits.shareOrigin(8 * MIB)
    limits.shareOrigin(2 * MIB)
    limits.shareOrigin(2 * MIB)
    limits.change({ ...NO_LIMITS, uploadBytesPerSecond: MIB })
    limits.shareOrigin(0)
    expect(heard).toEqual([4 * MIB, 2 * MIB, 2 * MIB, 0])
    expect(limits.current).toEqual({ ...NO_LIMITS, uploadBytesPerSecond: MIB })
    expect(limits.inForce).toEqual(limits.current)
  })

  it('is never so low that a piece takes longer than others wait for it', () => {
    const limits = new NodeLimits()
    limits.shareOrigin(1)
    expect(originOf(limits.inForce)).toBe(LOWEST_LIMIT)
    expect(limits.own.origin.bytesPerSecond).toBe(LOWEST_LIMIT)
  })
})
