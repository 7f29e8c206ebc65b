import { describe, expect, it } from 'vitest'
import { LinkShare } from '../../../src/lane/link-share.ts'

const KIB = 1024

describe('a connection that gets no bytes', () => {
  const share = new LinkShare(() => 3)
  share.came(100 * KIB)
  const heardAt = share.bytes

  it('is not waiting for its turn while nobody gets any', () => {
    expect(share.isWaiting(heardAt, 600, 500)).toBe(false)
  })

  it('is, until there was a turn for each connection, and no longer than five times the patience', () => {
    share.came(KIB)
    expect(share.isWaiting(heardAt, 600, 500)).toBe(true)
    expect(share.isWaiting(heardAt, 2600, 500)).toBe(false)
    share.came(3 * 64 * KIB)
    expect(share.isWaiting(heardAt, 600, 500)).toBe(false)
  })
})
