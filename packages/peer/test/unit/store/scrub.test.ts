import { mkdir, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createLogger } from '@shoal/core'
import Fastify from 'fastify'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createStoreMetrics } from '../../../src/store/metrics.ts'
import { addStoreRoutes } from '../../../src/store/routes.ts'
import { Scrubber } from '../../../src/store/scrubber.ts'
import type { BlobStore } from '../../../src/store/store.ts'
import { hasher, makeContent, makeStore, metricOf, putBlob } from './kit.ts'

const never = new AbortController().signal
const whole = makeContent('whole', 1_200_000)
const other = makeContent('other', 600_000)

let dataDir: string
let store: BlobStore
let registry: Registry
let events: string[]

const openStore = async (dependencies: Parameters<typeof makeStore>[2] = {}) => {
  ;({ store, registry } = makeStore(dataDir, {}, dependencies))
  events = []
  store.follow({
    moved: () => {},
    withdrawn: (digest) => events.push(`withdrawn ${digest}`),
    adopted: ({ digest, size }) => events.push(`adopted ${digest} ${size}`),
  })
  await store.start()
}

const fileOf = (digest: string) => join(dataDir, 'blobs/sha256', digest.slice(7, 9), digest.slice(7))

async function putFile(digest: string, bytes: Uint8Array): Promise<string> {
  const file = fileOf(digest)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, bytes)
  return file
}

async function damage(digest: string): Promise<void> {
  const handle = await open(fileOf(digest), 'r+')
  await handle.write(Buffer.from([0xff, 0x00, 0xff]), 0, 3, 540_000)
  await handle.close()
}

const scrub = () => store.scrub(never, () => {})

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-scrub-'))
  await openStore()
})
afterEach(async () => {
  await store.stop()
  await rm(dataDir, { recursive: true })
})

describe('a scrub', () => {
  it('finds nothing in a sound store, and says how far it is', async () => {
    await putBlob(store, whole.bytes)
    await putBlob(store, other.bytes)
    const seen: number[] = []
    const counts = await store.scrub(never, ({ checked }) => seen.push(checked))
    expect(counts).toMatchObject({ blobs: 2, checked: 2, checkedBytes: 1_800_000, damaged: 0, adopted: 0, removed: 0 })
    expect(seen).toEqual([0, 1, 2])
    expect(events).toEqual([])
  })

  it('discards and withdraws a damaged blob, and leaves the others', async () => {
    await putBlob(store, whole.bytes)
    await putBlob(store, other.bytes)
    await damage(whole.digest)
    expect(await scrub()).toMatchObject({ checked: 2, damaged: 1 })
    expect(events).toEqual([`withdrawn ${whole.digest}`])
    expect([store.find(whole.digest), store.find(other.digest)?.isComplete]).toEqual([undefined, true])
    await expect(stat(fileOf(whole.digest))).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await metricOf(registry, 'shoal_store_scrubbed_blobs_total', { result: 'damaged' })).toBe(1)
    await store.stop()
    await openStore()
    expect(store.find(whole.digest)).toBeUndefined()
  })

  it('takes a file that is gone or cut short for damaged', async () => {
    await putBlob(store, whole.bytes)
    await putBlob(store, other.bytes)
    await rm(fileOf(whole.digest))
    await truncate(fileOf(other.digest), 10)
    expect(await scrub()).toMatchObject({ damaged: 2 })
  })

  it('adopts whole blobs of a lost index with their piece maps, and deletes what is not the blob of its name', async () => {
    await putBlob(store, whole.bytes)
    const map = await store.pieceMap(whole.digest)
    await store.stop()
    await rm(join(dataDir, 'index'), { recursive: true })
    const wrong = await putFile(other.digest, Buffer.from('something else'))
    const stranger = join(dataDir, 'blobs/sha256/notes.txt')
    await writeFile(stranger, 'kept')
    await openStore()
    expect(store.find(whole.digest)).toBeUndefined()
    expect(await scrub()).toMatchObject({ blobs: 0, checked: 2, damaged: 0, adopted: 1, removed: 1 })
    expect(events).toEqual([`adopted ${whole.digest} 1200000`])
    await expect(stat(wrong)).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await readFile(stranger, 'utf8')).toBe('kept')
    await store.stop()
    await openStore()
    expect(store.find(whole.digest)?.isComplete).toBe(true)
    expect(await store.pieceMap(whole.digest)).toEqual(map)
    expect(map?.byteLength).toBe(3 * 32)
  })

  it('does not take a blob that is being downloaded again for an unknown file', async () => {
    await putFile(whole.digest, Buffer.from('leftover'))
    const part = await store.create(whole.digest, whole.bytes.byteLength)
    expect(await scrub()).toMatchObject({ checked: 0, removed: 0 })
    expect(store.find(whole.digest)).toBe(part)
  })

  it('leaves a blob that can not be read now', async () => {
    await store.stop()
    const busy = Object.assign(new Error('too many open files'), { code: 'EMFILE' })
    await openStore({ hasher: { ...hasher, hashBlob: () => Promise.reject(busy) } })
    await putBlob(store, whole.bytes)
    expect(await scrub()).toMatchObject({ checked: 1, damaged: 0, unreadable: 1 })
    expect(store.find(whole.digest)?.isComplete).toBe(true)
  })
})

describe('the scrub of the admin API', () => {
  it('starts one at a time, shows how far it is, and ends with the node', async () => {
    await putBlob(store, whole.bytes)
    const started = Promise.withResolvers<void>()
    const scrubber = new Scrubber({
      scrub: async (signal, report) => {
        started.resolve()
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        return store.scrub(signal, report)
      },
      metrics: createStoreMetrics(new Registry(), () => store.view()),
      log: createLogger('test', 'silent'),
    })
    const server = Fastify()
    addStoreRoutes(server, scrubber)
    expect((await server.inject('/api/v1/scrub')).json()).toMatchObject({ state: 'never', checked: 0 })
    const first = await server.inject({ method: 'POST', url: '/api/v1/scrub' })
    expect([first.statusCode, first.json().state]).toEqual([202, 'running'])
    await started.promise
    expect((await server.inject({ method: 'POST', url: '/api/v1/scrub' })).statusCode).toBe(409)
    await scrubber.stop()
    expect((await server.inject('/api/v1/scrub')).json()).toMatchObject({ state: 'failed', damaged: 0 })
  })

  it('shows what came out', async () => {
    await putBlob(store, whole.bytes)
    await damage(whole.digest)
    const done = Promise.withResolvers<void>()
    const scrubber = new Scrubber({
      scrub: (signal, report) => store.scrub(signal, report).finally(() => setImmediate(done.resolve)),
      metrics: createStoreMetrics(new Registry(), () => store.view()),
      log: createLogger('test', 'silent'),
    })
    expect(scrubber.begin()).toBe(true)
    await done.promise
    expect(scrubber.status).toMatchObject({ state: 'done', blobs: 1, checked: 1, damaged: 1 })
    expect(scrubber.begin()).toBe(true)
    await scrubber.stop()
  })
})
