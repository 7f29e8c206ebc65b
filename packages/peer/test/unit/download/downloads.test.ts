import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { digestOf } from '@shoal/core'
import { OriginError } from '@shoal/origin'
import { LeaseFailed_Reason, PieceFailed_Reason } from '@shoal/proto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LaneError } from '../../../src/lane/errors.ts'
import { content, digest, layout, request, source, World } from './world.ts'

const all = Array.from({ length: layout.count }, (_, piece) => piece)
let world: World
const never = new AbortController().signal

beforeEach(async () => {
  world = await World.open()
})
afterEach(() => world.remove())

const metric = async (name: string, labels: Record<string, string>) => {
  const found = await world.registry.getSingleMetric(name)?.get()
  return found?.values.find((value) => Object.entries(labels).every(([key, want]) => value.labels[key] === want))?.value
}

describe('a download', () => {
  it('brings assigned pieces to its reader in order, reports them, and publishes', async () => {
    world.parents.set('p1', content)
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00']))
    for (const piece of [...all].reverse()) world.assign(piece, 'p1', piece === 0 ? 'seed' : 'peer')
    expect((await reading).equals(content)).toBe(true)
    expect(world.published).toEqual([digest])
    expect(world.heard.filter((event) => event.startsWith('done')).length).toBe(layout.count)
    expect(await metric('shoal_node_piece_bytes_total', { source: 'seed' })).toBe(layout.length(0))
    expect(await metric('shoal_node_piece_bytes_total', { source: 'peer' })).toBe(content.byteLength - layout.length(0))
    expect(world.originRequests).toEqual([])
    expect(await world.read({ start: 5, end: 9 })).toEqual(content.subarray(5, 10))
  })

  it('is one however many clients ask', async () => {
    world.parents.set('p1', content)
    const readings = [world.read(), world.read(), world.read({ start: 1_000_000, end: 1_000_003 })]
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00']))
    for (const piece of all) world.assign(piece)
    const [first, second, part] = await Promise.all(readings)
    expect(first?.equals(content) && second?.equals(content)).toBe(true)
    expect(part).toEqual(content.subarray(1_000_000, 1_000_004))
    expect(world.heard.filter((event) => event.startsWith('join'))).toHaveLength(1)
  })

  it('reports a wrong piece, does not keep it, and takes it from another parent', async () => {
    world.parents.set('liar', new LaneError('corrupt', 'wrong sha256'))
    world.parents.set('p1', content)
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.assign(0, 'liar')
    await vi.waitFor(() => expect(world.heard).toContain(`failed 0 liar ${PieceFailed_Reason.CORRUPT}`))
    expect(await metric('shoal_node_piece_rejected_total', { reason: 'corrupt' })).toBe(1)
    for (const piece of all) world.assign(piece)
    expect((await reading).equals(content)).toBe(true)
  })

  it('begins a second assignment of a piece that is on its way when the first fails', async () => {
    world.parents.set('slow', new LaneError('stalled', 'no bytes'))
    world.parents.set('p1', content)
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.assign(0, 'slow')
    for (const piece of all) world.assign(piece)
    expect((await reading).equals(content)).toBe(true)
    expect(world.heard).toContain(`failed 0 slow ${PieceFailed_Reason.STALLED}`)
  })

  it('says when anything last moved: bytes that come, and what our own limits hold back', async () => {
    world.quiet.add('slow')
    expect(world.downloads.movedMs(digest)).toBeUndefined()
    const reading = world.read()
    reading.catch(() => {})
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.assign(0, 'slow')
    expect(world.downloads.movedMs(digest)).toBeUndefined()
    await vi.waitFor(() => expect(world.pieceRequests).toHaveLength(1))
    world.nowMs = 1000
    Atomics.add(world.arrivals, 0, 1)
    expect(world.downloads.movedMs(digest)).toBe(1000)
    world.nowMs = 2000
    expect(world.downloads.movedMs(digest)).toBe(1000)
    world.isHeldBack = () => true
    expect(world.downloads.movedMs(digest)).toBe(2000)
  })

  it('tells the scheduler that a piece it assigned has nearly come, and of no other', async () => {
    world.quiet.add('slow')
    const reading = world.read().catch(() => {})
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.assign(1, 'slow')
    for (const piece of [0, 1]) world.downloads.ending(digest, piece)
    world.downloads.ending(digestOf('another blob'), 1)
    expect(world.heard.slice(1)).toEqual(['ending 1 slow'])
    await world.downloads.stop()
    await reading
  })

  it('hurries a piece that the scheduler has another node send too, and takes it from there when that is no use', async () => {
    world.quiet.add('stopped')
    world.parents.set('p1', content)
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.assign(0, 'stopped')
    for (const piece of all.slice(1)) world.assign(piece)
    await vi.waitFor(() => expect(world.heard.filter((event) => event.startsWith('done'))).toHaveLength(all.length - 1))
    expect(world.hurried).toEqual([])
    world.assign(0, 'p1')
    expect((await reading).equals(content)).toBe(true)
    expect(world.hurried).toEqual(['0 stopped'])
    expect(world.heard).toContain(`failed 0 stopped ${PieceFailed_Reason.STALLED}`)
    expect(world.heard).toContain('done 0 p1')
  })

  it('goes on after a restart with what it had verified', async () => {
    world.parents.set('p1', content)
    const broken = world.read()
    broken.catch(() => {})
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.assign(0)
    world.assign(2)
    await vi.waitFor(() => expect(world.heard).toHaveLength(3))
    await world.stop()
    await expect(broken).rejects.toMatchObject({ code: 'STOPPED' })
    world = await World.open(world.dataDir)
    world.parents.set('p1', content)
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toEqual(['join 05']))
    for (const piece of all.filter((p) => p !== 0 && p !== 2)) world.assign(piece)
    expect((await reading).equals(content)).toBe(true)
    const received = await metric('shoal_node_piece_bytes_total', { source: 'peer' })
    expect(received).toBe(content.byteLength - layout.length(0) - layout.length(2))
  })

  it('carries out a lease without wanting the blob, and says again what it held', async () => {
    const lease = { digest, size: content.byteLength, origin: source }
    world.downloads.leased({ ...lease, firstPiece: 0, pieceCount: 2 })
    await vi.waitFor(() => expect(world.heard).toEqual(['fetched 0', 'fetched 1']))
    world.heard.length = 0
    world.downloads.leased({ ...lease, firstPiece: 1, pieceCount: layout.count - 1 })
    await vi.waitFor(() => expect(world.published).toEqual([digest]))
    expect(world.heard).toEqual(all.slice(1).map((piece) => `fetched ${piece}`))
    expect(world.originRequests.map(({ firstPiece }) => firstPiece)).toEqual([0, 2])
  })

  it('says that a lease gets on while bytes come, or its own limits hold them back, every two seconds', async () => {
    world.isOriginSlow = true
    world.downloads.leased({ digest, size: content.byteLength, origin: source, firstPiece: 0, pieceCount: 1 })
    await vi.waitFor(() => expect(world.originRequests).toHaveLength(1))
    const checkedAfter = async (ms: number, bytes: number) => {
      Atomics.add(world.arrivals, 0, bytes)
      world.later(ms)
      await delay(300)
    }
    for (let second = 1; second <= 4; second++) await checkedAfter(1000, 256 * 1024)
    expect(world.heard).toEqual(['leaseProgress', 'leaseProgress'])
    await checkedAfter(9000, 1000)
    expect(world.heard).toHaveLength(2)
    world.isHeldBack = () => true
    await checkedAfter(1000, 0)
    expect(world.heard).toHaveLength(3)
  })

  it('gives a lease back with the reason', async () => {
    world.originBytes = undefined
    world.originError = new OriginError('UNAUTHORIZED', 'no')
    world.downloads.leased({ digest, size: content.byteLength, origin: source, firstPiece: 0, pieceCount: 1 })
    await vi.waitFor(() => expect(world.heard).toEqual([`leaseFailed ${LeaseFailed_Reason.UNAUTHORIZED}`]))
  })
})

describe('a blob of one piece', () => {
  const small = content.subarray(0, 5000)
  beforeEach(() => {
    world.originSize = small.byteLength
  })
  const lease = {
    digest: digestOf(small),
    size: small.byteLength,
    origin: source,
    firstPiece: 0,
    pieceCount: 1,
  }

  it('is published by the digest of its piece: nothing hashes it once more', async () => {
    const hashed = vi.spyOn(world, 'hashGrowing')
    world.originBytes = small
    world.downloads.leased(lease)
    await vi.waitFor(() => expect(world.published).toEqual([lease.digest]))
    const file = world.store.find(lease.digest)?.file ?? ''
    expect((await readFile(file)).equals(small)).toBe(true)
    expect(hashed).not.toHaveBeenCalled()
  })

  it('is thrown away when its piece has another digest', async () => {
    world.originBytes = Buffer.from(small).fill(0, 9, 17)
    world.downloads.leased(lease)
    await vi.waitFor(() => expect(world.heard).toContain(`leaseFailed ${LeaseFailed_Reason.DIGEST_MISMATCH}`))
    await vi.waitFor(() => expect(world.store.find(lease.digest)).toBeUndefined())
    expect(world.published).toEqual([])
  })

  it('of sha512 is hashed, as pieces go by their sha256', async () => {
    const hashed = vi.spyOn(world, 'hashGrowing').mockImplementation(async ({ file }) => world.hashBlob(file, 'sha512'))
    world.originBytes = small
    world.downloads.leased({ ...lease, digest: digestOf(small, 'sha512') })
    await vi.waitFor(() => expect(world.published).toEqual([digestOf(small, 'sha512')]))
    expect(hashed).toHaveBeenCalledOnce()
  })
})

describe('without a scheduler', () => {
  it('waits its grace, then fetches on its own, and keeps what it held', async () => {
    world.parents.set('p1', content)
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.assign(0)
    await vi.waitFor(() => expect(world.heard).toHaveLength(2))
    world.isConnected = false
    world.downloads.disconnected(() => true)
    world.nowMs += 999
    await new Promise((resolve) => setImmediate(resolve))
    expect(world.originRequests).toEqual([])
    world.nowMs += 1
    expect((await reading).equals(content)).toBe(true)
    expect(world.originRequests.map(({ firstPiece }) => firstPiece)).toEqual([1])
    expect(await metric('shoal_node_ladder_steps_total', { rung: 'holders' })).toBe(1)
  })

  it('goes to the origin when the swarm is silent for too long', async () => {
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.nowMs += 15_000
    expect((await reading).equals(content)).toBe(true)
  })

  it('waits on for as long as the scheduler says that the swarm gets on', async () => {
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    for (let i = 0; i < 10; i++) {
      world.nowMs += 10_000
      world.downloads.swarmGetsOn(digest)
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
    expect(world.originRequests).toEqual([])
    expect(world.downloads.movedMs(digest)).toBe(world.nowMs)
    world.nowMs += 15_000
    expect((await reading).equals(content)).toBe(true)
  })

  it('goes to the origin at once when the scheduler says that no node can', async () => {
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.downloads.swarmFailed(digest, 'unavailable')
    expect((await reading).equals(content)).toBe(true)
  })

  it('is less urgent while a manifest has only announced the blob', async () => {
    world.parents.set('p1', content)
    world.downloads.announce([request])
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00 prefetch']))
    world.assign(1)
    await vi.waitFor(() => expect(world.heard).toContain('done 1 p1'))
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard.at(-1)).toBe('join 02'))
    world.downloads.announce([request])
    for (const piece of all.filter((p) => p !== 1)) world.assign(piece)
    expect((await reading).equals(content)).toBe(true)
    expect(world.heard.filter((event) => event.startsWith('join'))).toHaveLength(2)
  })

  it('joins again with what it holds when the scheduler is back', async () => {
    world.parents.set('p1', content)
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.assign(1)
    await vi.waitFor(() => expect(world.heard).toHaveLength(2))
    const isOther = (which: string) => which !== digest
    world.downloads.disconnected(isOther)
    world.downloads.connected(isOther)
    expect(world.heard).toHaveLength(2)
    world.downloads.disconnected((which) => which === digest)
    world.downloads.connected((which) => which === digest)
    expect(world.heard.at(-1)).toBe('join 02')
    for (const piece of all) world.assign(piece)
    expect((await reading).equals(content)).toBe(true)
    expect([...world.downloads.wholeBlobs()]).toEqual([{ digest, size: content.byteLength }])
  })

  it('begins nothing more of a lease when another scheduler is there, which hears what it has', async () => {
    const release: (() => void)[] = []
    const fetchFromOrigin = world.fetchFromOrigin.bind(world)
    world.fetchFromOrigin = async (wanted, onPiece, signal) => {
      await new Promise<void>((resolve) => release.push(resolve))
      return fetchFromOrigin(wanted, onPiece, signal)
    }
    const lease = { digest, size: content.byteLength, origin: source, pieceCount: 1 }
    for (const firstPiece of [0, 2, 4]) world.downloads.leased({ ...lease, firstPiece })
    await vi.waitFor(() => expect(release).toHaveLength(2))
    release[0]?.()
    await vi.waitFor(() => expect(world.heard).toEqual(['fetched 0']))
    await vi.waitFor(() => expect(release).toHaveLength(3))
    world.downloads.leased({ ...lease, firstPiece: 5 })
    await new Promise((resolve) => setImmediate(resolve))
    world.downloads.disconnected(() => true)
    world.downloads.connected(() => true)
    expect(world.heard.slice(1)).toEqual(['part 01'])
    for (const go of release) go()
    await vi.waitFor(() => expect(world.heard.slice(2).sort()).toEqual(['fetched 2', 'fetched 4']))
    world.downloads.leased({ ...lease, firstPiece: 1 })
    await vi.waitFor(() => expect(release).toHaveLength(4))
    release[3]?.()
    await vi.waitFor(() => expect(world.heard.at(-1)).toBe('fetched 1'))
    expect(world.originRequests.map(({ firstPiece }) => firstPiece)).toEqual([0, 2, 4, 1])
  })
})

describe('a lease that was taken away', () => {
  const lease = { digest, size: content.byteLength, origin: source, firstPiece: 0, pieceCount: layout.count }

  it('is broken off, and its pieces come from those that were to send them meanwhile', async () => {
    world.isOriginSlow = true
    world.parents.set('p1', content)
    world.downloads.leased(lease)
    await vi.waitFor(() => expect(world.originRequests).not.toEqual([]))
    const begun = world.originRequests.length
    for (const piece of all) world.assign(piece)
    world.downloads.leaseTaken(digest)
    await vi.waitFor(() => expect(world.published).toEqual([digest]))
    expect(world.originRequests).toHaveLength(begun)
    expect(world.heard.filter((what) => what.startsWith('leaseFailed'))).toEqual([])
  })

  it('goes on where other nodes asked for it, and where there is none nothing is broken off', async () => {
    world.isOriginSlow = true
    world.downloads.leased(lease)
    await vi.waitFor(() => expect(world.originRequests).not.toEqual([]))
    await world.downloads.fetchForOthers(digest, { ...source, firstPiece: 0, size: content.byteLength }, 'asker')
    world.downloads.leaseTaken(digest)
    world.downloads.leaseTaken(digest)
    world.downloads.leaseTaken(`sha256:${'0'.repeat(64)}`)
    await new Promise((resolve) => setImmediate(resolve))
    expect((await world.downloads.holdings(digest))?.isFetching).toBe(true)
  })
})

describe('a download that fails', () => {
  it('tells its reader why the origin refused', async () => {
    world.originBytes = undefined
    world.originError = new OriginError('UNAUTHORIZED', 'no credentials')
    const reading = world.read()
    reading.catch(() => {})
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.downloads.swarmFailed(digest, 'unauthorized')
    await expect(reading).rejects.toMatchObject({ code: 'ORIGIN_FAILED', cause: { code: 'UNAUTHORIZED' } })
    expect(world.heard.at(-1)).toBe('leave')
  })

  it('throws away a blob whose pieces were agreed on but have another digest, and then asks only the origin', async () => {
    const wrong = Buffer.from(content)
    wrong[7] = (wrong[7] ?? 0) ^ 1
    world.originBytes = wrong
    const reading = world.read()
    reading.catch(() => {})
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    const lease = { digest, size: content.byteLength, origin: source, firstPiece: 0, pieceCount: layout.count }
    world.downloads.leased(lease)
    await expect(reading).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
    expect(world.heard).toContain(`leaseFailed ${LeaseFailed_Reason.DIGEST_MISMATCH}`)
    expect(world.heard).toContain('withdrawn')
    expect(world.store.find(digest)).toBeUndefined()
    world.originBytes = content
    world.heard.length = 0
    expect((await world.read()).equals(content)).toBe(true)
    expect(world.heard.filter((event) => event.startsWith('join'))).toEqual([])
  })

  it('forgets a part that nobody is getting when its size is not what the origin says', async () => {
    await world.store.create(digest, 17)
    world.parents.set('p1', content)
    const reader = await world.downloads.open({ digest, source }, never)
    expect(reader.size).toBe(content.byteLength)
    expect(world.store.find(digest)?.size).toBe(content.byteLength)
    await reader.close()
  })

  it('is left alone by who claims that the blob has another size, who gets what its own origin has', async () => {
    world.parents.set('p1', content)
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00']))
    const wrong = content.byteLength + 1
    const liar = { registry: 'liar', repository: 'x' }
    await expect(world.downloads.want({ digest, source: liar, size: wrong })).rejects.toMatchObject({
      code: 'SIZE_CONFLICT',
    })
    const reader = await world.downloads.open({ digest, source: liar, size: wrong }, never)
    expect(reader.size).toBe(wrong)
    await reader.close()
    for (const piece of all) world.assign(piece)
    expect((await reading).equals(content)).toBe(true)
    const late = await world.downloads.open({ digest, source: liar, size: 17 }, never)
    expect(late.size).toBe(17)
    expect(world.store.find(digest)?.isComplete).toBe(true)
    expect(world.heard.filter((event) => event.startsWith('join'))).toEqual(['join 00'])
  })

  it('makes no room for a lease of a blob that the origin does not have, or has with another size', async () => {
    const lease = { digest, size: content.byteLength, origin: source, firstPiece: 0, pieceCount: layout.count }
    world.originSize = new OriginError('NOT_FOUND', 'it does not have it')
    world.downloads.leased(lease)
    await vi.waitFor(() => expect(world.heard).toEqual([`leaseFailed ${LeaseFailed_Reason.NOT_FOUND}`]))
    world.originSize = 17
    world.downloads.leased(lease)
    await vi.waitFor(() => expect(world.heard[1]).toBe(`leaseFailed ${LeaseFailed_Reason.SIZE_MISMATCH}`))
    expect(world.store.find(digest)).toBeUndefined()
  })

  it('answers assignments of blobs it does not want', async () => {
    world.assign(0)
    expect(world.heard).toEqual([`failed 0 p1 ${PieceFailed_Reason.LOCAL}`])
  })

  it('does not lose patience with pieces that its own rate limits hold back', async () => {
    let checks = 0
    let isHeldBack = true
    world.isHeldBack = () => {
      checks++
      return isHeldBack
    }
    let arrive = () => {}
    world.fetchPiece = () =>
      new Promise((resolve) => {
        arrive = () => resolve({ durationMs: 1 })
      })
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.assign(0)
    checks = 0
    world.nowMs += 20_000
    await vi.waitFor(() => expect(checks).toBeGreaterThan(0))
    expect(world.originRequests).toEqual([])
    isHeldBack = false
    world.nowMs += 15_000
    await vi.waitFor(() => expect(world.originRequests).not.toEqual([]))
    arrive()
    await reading.catch(() => {})
  })
})
