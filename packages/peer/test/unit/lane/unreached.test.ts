import { describe, expect, it } from 'vitest'
import { UnreachedParents } from '../../../src/lane/unreached.ts'

const parent = { peerId: 'p', host: 'h', port: 1 }

describe('parents whose lane is not reached', () => {
  it('are tried again one piece at a time, less and less often', () => {
    const parents = new UnreachedParents()
    expect(parents.wayTo(parent, 0)).toBe('tls')
    expect([parents.add(parent, 0), parents.add(parent, 4000)]).toEqual([true, false])
    const retries: number[] = []
    for (let nowMs = 0; nowMs <= 1_200_000; nowMs += 1000) {
      if (parents.wayTo(parent, nowMs) === 'retry') retries.push(nowMs / 1000)
      expect(parents.wayTo(parent, nowMs)).toBe('libp2p')
    }
    expect(retries).toEqual([5, 15, 35, 75, 155, 315, 615, 915])
  })

  it('are forgotten when they are reached, and begin anew', () => {
    const parents = new UnreachedParents()
    parents.add(parent, 0)
    parents.wayTo(parent, 5000)
    expect([parents.delete(parent), parents.delete(parent)]).toEqual([true, false])
    expect(parents.wayTo(parent, 5000)).toBe('tls')
    parents.add(parent, 6000)
    expect(parents.wayTo(parent, 11_000)).toBe('retry')
  })

  it('are told apart by where they are, and are not remembered without bound', () => {
    const parents = new UnreachedParents()
    for (let port = 1; port <= 5000; port++) parents.add({ ...parent, port }, 0)
    expect(parents.count).toBe(4096)
    expect(parents.wayTo({ ...parent, port: 1 }, 0)).toBe('tls')
    expect(parents.wayTo({ ...parent, port: 5000 }, 0)).toBe('libp2p')
  })
})
