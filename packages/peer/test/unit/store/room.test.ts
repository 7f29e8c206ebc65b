import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MIN_PIECE_BYTES } from '@shoal/core'
import type { Registry } from 'prom-client'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { StoreOptions } from '../../../src/store/options.ts'
import { checkStoreOptions } from '../../../src/store/options.ts'
import type { BlobStore } from '../../../src/store/store.ts'
import { addPiece, makeContent, makeStore, metricOf, putBlob, UNLIMITED } from './kit.ts'

/** Bytes: a 256th of the smallest piece. */
const PART = MIN_PIECE_BYTES / 256
const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((seed) => makeContent(seed, 300 * PART)) as [
  ReturnType<typeof makeContent>,
  ReturnType<typeof makeContent>,
  ReturnType<typeof makeContent>,
  ReturnType<typeof makeContent>,
]
/** Three blobs fit under its high watermark, two under its low one. */
const QUOTA = { quotaBytes: 1024 * PART, highWatermark: 0.9, lowWatermark: 0.6 }

let dataDir: string
let store: BlobStore
let registry: Registry
let nowMs = 1_000_000
let freeBytes = Number.POSITIVE_INFINITY
let withdrawn: string[]

const open = async (options: Partial<StoreOptions> = QUOTA, dependencies: Parameters<typeof makeStore>[2] = {}) => {
  const made = makeStore(dataDir, options, { now: () => ++nowMs, freeBytes: () => freeBytes, ...dependencies })
  store = made.store
  registry = made.registry
  withdrawn = []
  store.follow({ moved: () => {}, withdrawn: (digest) => withdrawn.push(digest), adopted: () => {} })
  await store.start()
}

const held = () => [a, b, c, d].map(({ digest }) => store.find(digest) !== undefined)

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-room-'))
  freeBytes = Number.POSITIVE_INFINITY
  await open()
})
afterEach(async () => {
  await store.stop()
  await rm(dataDir, { recursive: true })
})

describe('a store with a quota', () => {
  it('evicts the blobs longest unused for a new one, and says so', async () => {
    for (const { bytes } of [a, b, c]) await putBlob(store, bytes)
    expect(held()).toEqual([true, true, true, false])
    store.touch(a.digest)
    const fileOfB = store.find(b.digest)?.file ?? ''
    await putBlob(store, d.bytes)
    expect(held()).toEqual([true, false, false, true])
    expect(withdrawn).toEqual([b.digest, c.digest])
    await expect(stat(fileOfB)).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await metricOf(registry, 'shoal_store_evictions_total', { reason: 'quota' })).toBe(2)
    expect(await metricOf(registry, 'shoal_store_evicted_bytes_total', { reason: 'quota' })).toBe(600 * PART)
    expect(await metricOf(registry, 'shoal_store_bytes', { state: 'whole' })).toBe(600 * PART)
  })

  it('evicts first what this node has elsewhere too', async () => {
    await store.stop()
    await open(QUOTA, { isSpare: (digest) => digest === c.digest })
    for (const { bytes } of [a, b, c]) await putBlob(store, bytes)
    await putBlob(store, d.bytes)
    expect(withdrawn).toEqual([c.digest, a.digest])
  })

  it('keeps what is pinned, and evicts it once it is not', async () => {
    for (const { bytes } of [a, b, c]) await putBlob(store, bytes)
    const unpin = store.pin(a.digest)
    const unpinAgain = store.pin(a.digest)
    unpin()
    unpin()
    await putBlob(store, d.bytes)
    expect(held()).toEqual([true, false, false, true])
    unpinAgain()
    await store.create(b.digest, b.bytes.byteLength)
    await store.create(c.digest, c.bytes.byteLength)
    expect(held()[0]).toBe(false)
  })

  it('refuses a blob that can not fit beside what is in use, and evicts nothing for it', async () => {
    await putBlob(store, a.bytes)
    await putBlob(store, b.bytes)
    await expect(store.create(d.digest, 1025 * PART)).rejects.toMatchObject({ code: 'NO_SPACE' })
    store.pin(a.digest)
    await expect(store.create(d.digest, 800 * PART)).rejects.toMatchObject({ code: 'NO_SPACE' })
    expect(held()).toEqual([true, true, false, false])
    expect(await readdir(join(dataDir, 'partial'))).toEqual([])
    expect(await metricOf(registry, 'shoal_store_no_room_total')).toBe(2)
  })

  it('evicts abandoned parts, counted with their whole size', async () => {
    const part = await store.create(a.digest, a.bytes.byteLength)
    await addPiece(store, part, 0, a.bytes)
    await putBlob(store, b.bytes)
    await putBlob(store, c.bytes)
    expect(store.summary()).toMatchObject({ partialBlobs: 1, partialBytes: 300 * PART })
    await putBlob(store, d.bytes)
    expect(withdrawn).toEqual([a.digest, b.digest])
    expect(await readdir(join(dataDir, 'partial'))).toEqual([])
    await store.stop()
    await open()
    expect(held()).toEqual([false, false, true, true])
  })

  it('gives the same room to one of two concurrent downloads only', async () => {
    const [first, second] = [makeContent('e', 600 * PART), makeContent('f', 600 * PART)]
    store.pin(first.digest)
    store.pin(second.digest)
    const made = await Promise.allSettled([
      store.create(first.digest, 600 * PART),
      store.create(second.digest, 600 * PART),
    ])
    expect(made.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })

  it('evicts at its start what a smaller quota does not allow, by the times of use of earlier runs', async () => {
    for (const { bytes } of [a, b, c]) await putBlob(store, bytes)
    store.touch(a.digest)
    await store.stop()
    await open({ ...QUOTA, quotaBytes: 500 * PART })
    expect(held()).toEqual([true, false, false, false])
  })

  it('writes down times of use while it runs, once a minute', async () => {
    await putBlob(store, a.bytes)
    await store.tend()
    store.touch(a.digest)
    const usedAtMs = store.find(a.digest)?.usedAtMs
    const recorded = async () => {
      for await (const [digest, record] of store.index.blobs()) if (digest === a.digest) return record.usedAtMs
      return undefined
    }
    await store.tend()
    expect(await recorded()).toBeLessThan(usedAtMs ?? 0)
    nowMs += 60_000
    await store.tend()
    expect(await recorded()).toBe(usedAtMs)
  })
})

describe('a store on a disk that fills up', () => {
  const DISK = { ...UNLIMITED, minFreeBytes: 500 * PART }

  beforeEach(async () => {
    await store.stop()
    await open(DISK)
    for (const { bytes } of [a, b, c]) await putBlob(store, bytes)
  })

  it('evicts when less is free than must be', async () => {
    freeBytes = 500 * PART
    await store.tend()
    expect(held()).toEqual([true, true, true, false])
    freeBytes = 400 * PART
    await store.tend()
    // 800 KiB may be kept, and an eviction goes down to four fifths of that.
    expect(held()).toEqual([false, true, true, false])
    expect(await metricOf(registry, 'shoal_store_evictions_total', { reason: 'disk' })).toBe(1)
    expect(await metricOf(registry, 'shoal_store_free_bytes')).toBe(400 * PART)
  })

  it('counts what is promised to parts as taken', async () => {
    freeBytes = 1000 * PART
    store.pin(d.digest)
    const part = await store.create(d.digest, d.bytes.byteLength)
    for (const { digest } of [a, b, c]) store.pin(digest)
    const other = makeContent('e', 300 * PART)
    await expect(store.create(other.digest, 300 * PART)).rejects.toMatchObject({ code: 'NO_SPACE' })
    // Its first piece is written: 256 KiB fewer are promised, and as many fewer are free.
    await addPiece(store, part, 0, d.bytes)
    freeBytes -= 256 * PART
    await expect(store.create(other.digest, 201 * PART)).rejects.toMatchObject({ code: 'NO_SPACE' })
    await store.create(other.digest, 200 * PART)
  })

  it('makes room when the system says the disk is full, whatever it says is free', async () => {
    freeBytes = Number.MAX_SAFE_INTEGER
    store.pin(a.digest)
    expect(await store.makeRoom(100 * PART, store.evictedBytes)).toBe(300 * PART)
    expect(held()).toEqual([true, false, true, false])
    // A write that began before that eviction finds the room it made.
    expect(await store.makeRoom(100 * PART, store.evictedBytes - 300 * PART)).toBe(300 * PART)
    expect(held()).toEqual([true, false, true, false])
    store.pin(c.digest)
    expect(await store.makeRoom(1, store.evictedBytes)).toBe(0)
  })

  it('refuses to go on with a part when nothing is free any more', async () => {
    const part = await store.create(d.digest, d.bytes.byteLength)
    for (const { digest } of [a, b, c]) store.pin(digest)
    freeBytes = 100 * PART
    await expect(store.create(part.digest, part.size)).rejects.toMatchObject({ code: 'NO_SPACE' })
  })
})

describe('store options', () => {
  it('refuse watermarks the wrong way round', () => {
    expect(() => checkStoreOptions({ ...UNLIMITED, lowWatermark: 0.95 })).toThrow(/lowWatermark/)
    expect(() => checkStoreOptions({ ...UNLIMITED, lowWatermark: 0.9 })).not.toThrow()
  })
})
