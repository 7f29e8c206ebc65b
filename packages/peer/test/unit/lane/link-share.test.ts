import { describe, expect, it } from 'vitest'
import { LinkShare } from '../../../src/lane/link-share.ts'

const KIB = 1024

describe('a connection that gets no bytes', () => {
  it('is not waiting for its turn while nobody gets any', () => {
    const share = new LinkShare(() => 3)
    share.came(100 * KIB, 0)
    expect(share.isWaiting(share.bytes, 900 * KIB, 600)).toBe(false)
  })

  it('is, until there was a turn for each connection, and no longer than twenty seconds', () => {
    const share = new LinkShare(() => 3)
    share.came(100 * KIB, 0)
    const heardAt = share.bytes
    share.came(KIB, 0)
    expect(share.isWaiting(heardAt, 0, 600)).toBe(true)
    expect(share.isWaiting(heardAt, 0, 20_000)).toBe(false)
    share.came(3 * 64 * KIB, 0)
    expect(share.isWaiting(heardAt, 0, 600)).toBe(false)
  })

  it('is, until all has come that was asked of others before', () => {
    const share = new LinkShare(() => 3)
    share.owe(900 * KIB, 0)
    const { bytes: heardAt, owed } = share
    share.came(800 * KIB, 0)
    share.owe(-800 * KIB, 0)
    share.owe(512 * KIB, 0)
    expect(share.isWaiting(heardAt, owed, 5000)).toBe(true)
    share.came(100 * KIB, 0)
    expect(share.isWaiting(heardAt, owed, 5000)).toBe(false)
  })
})

describe('a parent may be silent', () => {
  it('for as long as a MiB takes at the rate of the link, where it is slow', () => {
    const share = new LinkShare(() => 1)
    expect(share.patienceMs(500)).toBe(500)
    share.owe(64 * 1024 * KIB, 10_000)
    for (let ms = 10_100; ms <= 15_000; ms += 100) share.came(400 * KIB, ms)
    expect(share.patienceMs(500)).toBe(500)
    for (let ms = 15_100; ms <= 20_000; ms += 100) share.came(16 * KIB, ms)
    expect(share.patienceMs(500)).toBeGreaterThan(5000)
    expect(share.patienceMs(500)).toBeLessThan(6500)
    share.came(1, 60_000)
    expect(share.patienceMs(500)).toBe(20_000)
  })

  it('no longer because nobody was asked for anything', () => {
    const share = new LinkShare(() => 1)
    share.owe(400 * KIB, 0)
    share.came(400 * KIB, 100)
    share.owe(-400 * KIB, 100)
    share.came(10, 50_000)
    share.owe(400 * KIB, 100_000)
    share.came(400 * KIB, 100_100)
    expect(share.patienceMs(500)).toBe(500)
  })
})
