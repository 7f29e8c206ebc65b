import { createHash } from 'node:crypto'
import { PieceLayout } from '@shoal/core'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { chooseCheckpoints, isTelling } from '../../../src/download/checkpoints.ts'
import { content, digest, layout, request, source, World } from './world.ts'

const all = Array.from({ length: layout.count }, (_, piece) => piece)
const noise = createHash('shake256', { outputLength: content.byteLength }).update('noise').digest()
const evil = { registry: 'evil:5000', repository: 'x' }
let world: World

beforeEach(async () => {
  world = await World.open()
  world.isProven = false
  world.parents.set('p1', content)
})
afterEach(() => world.remove())

/** What clients of an origin get of the blob, until it ends or breaks off. */
async function readAs(origin: typeof source, range = { start: 0, end: content.byteLength - 1 }) {
  const chunks: Buffer[] = []
  const reader = await world.downloads.open({ ...request, source: origin }, AbortSignal.timeout(10_000))
  let error: unknown
  try {
    for await (const chunk of reader.read(range, AbortSignal.timeout(10_000))) chunks.push(Buffer.from(chunk))
  } catch (thrown) {
    error = thrown
  } finally {
    await reader.close()
  }
  return { bytes: Buffer.concat(chunks), error }
}

/** Has this node hold the whole blob, which came from other nodes. */
async function pullFromNeighbours() {
  const reading = world.read()
  await vi.waitFor(() => expect(world.heard).toContain('join 00'))
  for (const piece of all) world.assign(piece)
  expect((await reading).equals(content)).toBe(true)
}

describe('a blob that came from other nodes', () => {
  it('is for clients of an origin that was seen to hold it, for a few requests of a KiB each', async () => {
    await pullFromNeighbours()
    expect(world.parts).toHaveLength(3)
    expect(world.parts.every(({ start, end }) => end - start === 1023)).toBe(true)
    expect(layout.indexAt(world.parts[0]?.start ?? -1)).toBe(0)
    expect(world.proven).toEqual(['origin:5000/app'])
  })

  it('is not for clients of a registry that only claims to have it: they get what it has itself', async () => {
    await pullFromNeighbours()
    world.ownBytes = noise
    const { bytes, error } = await readAs(evil)
    // The last part of what is passed through is held back, since the whole has another digest.
    expect(noise.subarray(0, bytes.byteLength).equals(bytes)).toBe(true)
    expect(error).toMatchObject({ code: 'DIGEST_MISMATCH' })
    expect((await readAs(evil, { start: 5, end: 104 })).bytes).toEqual(noise.subarray(5, 105))
    // It is not asked to prove it again and again, under whatever name, until a part is right by chance.
    world.ownBytes = content
    const parts = world.parts.length
    const again = await readAs({ ...evil, repository: 'y' }, { start: 5, end: 104 })
    expect(again.bytes).toEqual(content.subarray(5, 105))
    expect(world.parts.slice(parts)).toEqual([{ start: 5, end: 104 }])
    expect(world.proven).toEqual(['origin:5000/app'])
    // And its own clients are not disturbed.
    expect((await world.read()).equals(content)).toBe(true)
  })

  it('is not read on from the disk by a later part once an earlier one was not for this client', async () => {
    world.isProven = true
    const reading = world.read().catch(() => {})
    await vi.waitFor(() => expect(world.heard).toContain('join 00'))
    world.isProven = false
    world.ownBytes = noise
    const signal = AbortSignal.timeout(10_000)
    const reader = await world.downloads.open({ ...request, source: evil }, signal)
    for (const piece of all) world.assign(piece)
    const halves = [
      { start: 0, end: 1_499_999 },
      { start: 1_500_000, end: content.byteLength - 1 },
    ]
    for (const half of halves) {
      const chunks: Buffer[] = []
      for await (const chunk of reader.read(half, signal)) chunks.push(Buffer.from(chunk))
      expect(Buffer.concat(chunks).equals(noise.subarray(half.start, half.end + 1))).toBe(true)
    }
    await reader.close()
    await reading
    await vi.waitFor(() => expect(world.published).toEqual([digest]))
  })

  it('is asked for at the same places each time, whatever the origin answers there', async () => {
    await pullFromNeighbours()
    const places = [...world.parts]
    for (const name of ['x', 'y', 'z']) {
      world.parts.length = 0
      world.ownBytes = undefined
      await readAs({ ...evil, repository: name })
      expect(world.parts.slice(0, 3)).toEqual(places)
    }
  })

  it('is not for clients of an origin that is away before it was seen to hold it', async () => {
    await pullFromNeighbours()
    world.ownBytes = undefined
    const { bytes, error } = await readAs(evil)
    expect(bytes).toHaveLength(0)
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    world.ownBytes = content
    expect((await readAs(evil)).bytes.equals(content)).toBe(true)
    expect(world.proven.at(-1)).toBe('evil:5000/x')
  })

  it('is read while it grows up to where the origin was seen to hold it', async () => {
    // It knows three pieces; chance looks at the fourth and the fifth besides the first.
    const known = layout.offset(3)
    world.ownBytes = Buffer.concat([content.subarray(0, known), noise.subarray(known)])
    world.random = 0.5
    const reading = readAs(source)
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00']))
    for (const piece of all) world.assign(piece)
    const { bytes, error } = await reading
    expect(error).toMatchObject({ code: 'DIGEST_MISMATCH' })
    expect(bytes.byteLength).toBeGreaterThanOrEqual(known)
    expect(world.ownBytes.subarray(0, bytes.byteLength).equals(bytes)).toBe(true)
    await vi.waitFor(() => expect(world.published).toEqual([digest]))
    expect(world.proven).toEqual([])
  })

  it('gives nothing of itself while it grows to clients of a registry that has none of it', async () => {
    world.ownBytes = noise
    const reading = readAs(evil)
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00']))
    for (const piece of all) world.assign(piece)
    const { bytes } = await reading
    expect(noise.subarray(0, bytes.byteLength).equals(bytes)).toBe(true)
    await vi.waitFor(() => expect(world.published).toEqual([digest]))
  })
})

describe('a blob that a manifest announced', () => {
  it('is proven while it comes, before a client asks for it', async () => {
    world.downloads.announce([{ digest, source }])
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00 prefetch']))
    for (const piece of all) world.assign(piece)
    await vi.waitFor(() => expect(world.proven).toEqual(['origin:5000/app']))
    expect(world.parts).toHaveLength(3)
  })
})

describe('a blob that the origin gave this node', () => {
  it('needs no other proof', async () => {
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00']))
    world.downloads.leased({
      digest,
      size: content.byteLength,
      origin: source,
      firstPiece: 0,
      pieceCount: layout.count,
    })
    expect((await reading).equals(content)).toBe(true)
    await vi.waitFor(() => expect(world.proven).toContain('origin:5000/app'))
    expect(world.parts).toEqual([])
  })
})

describe('a part of a blob that is not whole yet', () => {
  it('is what its own origin has, never what other nodes sent', async () => {
    world.isProven = true
    world.ownBytes = noise
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00']))
    world.assign(0)
    await vi.waitFor(() => expect(world.heard).toContain('done 0 p1'))
    expect((await readAs(source, { start: 10, end: 19 })).bytes).toEqual(noise.subarray(10, 20))
    for (const piece of all) world.assign(piece)
    expect((await reading).equals(content)).toBe(true)
    expect((await readAs(source, { start: 10, end: 19 })).bytes).toEqual(content.subarray(10, 20))
  })

  it('is given at once out of what its own origin gave this node', async () => {
    world.isProven = true
    world.ownBytes = noise
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00']))
    world.downloads.leased({ digest, size: content.byteLength, origin: source, firstPiece: 0, pieceCount: 2 })
    await vi.waitFor(() => expect(world.heard).toContain('fetched 1'))
    expect((await readAs(source, { start: 10, end: layout.pieceSize + 5 })).bytes).toEqual(
      content.subarray(10, layout.pieceSize + 6),
    )
    expect((await readAs(evil, { start: 10, end: 19 })).bytes).toEqual(noise.subarray(10, 20))
    for (const piece of all) world.assign(piece)
    await reading
  })

  it('far behind what is here is there before all that comes before it', async () => {
    world.isProven = true
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00']))
    const last = { start: content.byteLength - 2048, end: content.byteLength - 1 }
    expect((await readAs(source, last)).bytes).toEqual(content.subarray(last.start))
    expect(world.parts).toEqual([last])
    for (const piece of all) world.assign(piece)
    await reading
  })
})

describe('a download that was begun for clients of another registry', () => {
  it('is not mixed with bytes of theirs, and its failure sends them to their own origin', async () => {
    world.isProven = true
    world.originError = Object.assign(new Error('evil is away'), {})
    world.originBytes = undefined
    const reading = readAs(evil)
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00']))
    const own = readAs(source)
    world.later(20_000)
    expect((await reading).error).toMatchObject({ code: 'ORIGIN_FAILED' })
    expect((await own).bytes.equals(content)).toBe(true)
    expect(world.originRequests.every((asked) => asked.source.registry === 'evil:5000')).toBe(true)
  })
})

describe('checkpoints', () => {
  const random = () => fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

  it('begin in the first piece, are in order, and never reach beyond their piece', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 36 }), fc.infiniteStream(random()), (size, numbers) => {
        const blob = new PieceLayout(size)
        const checkpoints = chooseCheckpoints(blob, () => numbers.next().value ?? 0)
        expect(checkpoints).toHaveLength(size === 0 ? 0 : size <= 4096 ? 1 : 3)
        for (const [i, { piece, range }] of checkpoints.entries()) {
          expect(i === 0 ? piece === 0 : piece >= (checkpoints[i - 1]?.piece ?? piece)).toBe(true)
          expect(new Set(checkpoints.map((one) => one.piece)).size).toBe(Math.min(checkpoints.length, blob.count))
          expect(blob.indexAt(range.start)).toBe(piece)
          expect(range.end).toBeLessThan(blob.offset(piece) + blob.length(piece))
          expect(range.end - range.start + 1).toBe(size <= 4096 ? size : Math.min(1024, blob.length(piece)))
        }
      }),
    )
  })

  it('do not count where their bytes could be guessed', () => {
    expect(isTelling(Buffer.alloc(1024), 10_000)).toBe(false)
    expect(isTelling(Buffer.from('abcd'.repeat(256)), 10_000)).toBe(false)
    expect(isTelling(content.subarray(0, 1024), 10_000)).toBe(true)
    expect(isTelling(Buffer.from('{}'), 2)).toBe(true)
  })
})
