import { createHash } from 'node:crypto'
import { OriginError } from '@shoal/origin'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Wanted } from '../../../src/swarm/holders.ts'
import type { MemoryNetwork } from '../swarm/memory-network.ts'
import { Other, wanted } from './other-node.ts'
import { content, digest, layout, request, source, World } from './world.ts'

let world: World

beforeEach(async () => {
  world = await World.openAlone()
})
afterEach(() => world.remove())

describe('a node that is asked to fetch for others', () => {
  let asker: ReturnType<MemoryNetwork['join']>
  const ask = (what: Wanted = wanted) => asker.ask({ peerId: 'self' }, request, what)
  const look = () => asker.ask({ peerId: 'self' }, request, undefined)

  beforeEach(() => {
    asker = world.network.join('asker', { holdings: async () => undefined, fetchForOthers: async () => {} })
  })

  it('says nothing of a blob that nobody wants it to fetch', async () => {
    expect(await look()).toBeUndefined()
    expect(world.originRequests).toEqual([])
  })

  it('does, from where it is told, says that more will come, and what it holds in the end', async () => {
    expect(await ask({ ...wanted, firstPiece: 2 })).toMatchObject({ isFetching: true, size: content.byteLength })
    expect(await ask({ ...wanted, firstPiece: 2 })).toMatchObject({ isFetching: true })
    await vi.waitFor(() => expect(world.published).toEqual([digest]))
    expect(world.originRequests.map(({ firstPiece }) => firstPiece)).toEqual([2, 0])
    expect(world.originRequests[0]?.source).toEqual(source)
    const holder = await look()
    expect(holder?.have.isComplete).toBe(true)
    const first = content.subarray(0, layout.length(0))
    expect(Buffer.from(holder?.sha256s.subarray(0, 32) ?? [])).toEqual(createHash('sha256').update(first).digest())
  })

  it('fetches the rest of a blob of which it had a lease', async () => {
    world.downloads.leased({ digest, size: content.byteLength, origin: source, firstPiece: 0, pieceCount: 1 })
    await vi.waitFor(() => expect(world.heard).toEqual(['fetched 0']))
    await vi.waitFor(async () => expect(await look()).toMatchObject({ isFetching: false }))
    expect(await ask()).toMatchObject({ isFetching: true })
    await vi.waitFor(() => expect(world.published).toEqual([digest]))
    expect(world.originRequests.map(({ firstPiece }) => firstPiece)).toEqual([0, 1])
  })

  it('believes the origin about the size', async () => {
    const size = content.byteLength + 7
    expect(await asker.ask({ peerId: 'self' }, { digest, size }, { ...wanted, size })).toBeUndefined()
    await vi.waitFor(() => expect(world.published).toEqual([digest]))
    expect(await look()).toMatchObject({ size: content.byteLength })
  })

  it('makes no room for what the origin does not give it, and does not try again for a while', async () => {
    world.originSize = new OriginError('UNAUTHORIZED', 'no')
    expect(await ask()).toMatchObject({ isFetching: false })
    world.originSize = content.byteLength
    world.later(3001)
    expect(await ask()).toMatchObject({ isFetching: false })
    expect(world.store.find(digest)).toBeUndefined()
    world.later(30_000)
    expect(await ask()).toMatchObject({ isFetching: true })
    await vi.waitFor(() => expect(world.published).toEqual([digest]))
  })

  it('chooses the first that asked when the origin refuses it, and another when that one is gone', async () => {
    world.isPrivate = true
    const second = world.network.join('second', { holdings: async () => undefined, fetchForOthers: async () => {} })
    expect(await ask()).toMatchObject({ isFetching: false, fetcher: 'asker', size: content.byteLength })
    expect(await second.ask({ peerId: 'self' }, request, wanted)).toMatchObject({ isFetching: false, fetcher: 'asker' })
    expect(await look()).toMatchObject({ fetcher: 'asker' })
    world.later(3001)
    expect(await look()).toBeUndefined()
    expect(await second.ask({ peerId: 'self' }, request, wanted)).toMatchObject({ fetcher: 'second' })
    expect(world.store.find(digest)).toBeUndefined()
  })

  it('chooses nobody when the origin is away', async () => {
    world.originSize = new OriginError('UNAVAILABLE', 'away')
    expect(await ask()).toBeUndefined()
  })

  it('ends a fetch that the origin refuses half-way', async () => {
    world.originBytes = undefined
    await ask()
    await vi.waitFor(() => expect(world.heard).toContain('leave'))
    expect(world.downloads.activeCount).toBe(0)
    expect(await look()).toMatchObject({ isFetching: false })
    expect(await ask()).toMatchObject({ isFetching: false })
  })

  it('begins its own download with the source of its client', async () => {
    world.network.nearest = ['elsewhere']
    world.originError = new OriginError('UNAVAILABLE', 'away')
    const authorization = 'Basic c2VjcmV0'
    const hold = new Other(world, 'a', [0])
    hold.isFetching = true
    const reader = await world.downloads.open(
      { ...request, source: { ...source, authorization } },
      AbortSignal.timeout(10_000),
    )
    await vi.waitFor(() => expect(hold.sent).toBe(1))
    await ask()
    await vi.waitFor(() => expect(world.published).toEqual([digest]))
    expect(world.originRequests[0]?.source).toEqual({ ...source, authorization })
    await reader.close()
  })
})
