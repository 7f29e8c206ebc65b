import { describe, expect, it } from 'vitest'
import { OriginShares } from '../../../src/coordinator/origin-shares.ts'

const share = (bytesPerSecond: number, aloneBytesPerSecond: number) => ({ bytesPerSecond, aloneBytesPerSecond })

describe('what a node may fetch from origins', () => {
  it('is what its schedulers leave it, together', () => {
    const shares = new OriginShares()
    expect(shares.bytesPerSecond).toBe(0)
    shares.connected('a')
    shares.connected('b')
    expect(shares.bytesPerSecond).toBe(0)
    shares.told('a', share(30, 3))
    shares.told('b', share(10, 1))
    shares.told('b', share(20, 2))
    expect(shares.bytesPerSecond).toBe(50)
    shares.disconnected('a')
    expect(shares.bytesPerSecond).toBe(20)
  })

  it('is what the last one said of that while there is no scheduler, until one is back', () => {
    const shares = new OriginShares()
    shares.connected('a')
    shares.told('a', share(30, 3))
    shares.disconnected('a')
    expect(shares.bytesPerSecond).toBe(3)
    shares.connected('a')
    expect(shares.bytesPerSecond).toBe(0)
  })
})
