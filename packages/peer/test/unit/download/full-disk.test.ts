import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '@shoal/core'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { OriginClient } from '@shoal/origin'
import { createOriginMetrics } from '@shoal/origin/service'
import { Registry } from 'prom-client'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sendBlob } from '../../../../origin/test/unit/fixtures.ts'
import type { Coordinator } from '../../../src/coordinator/events.ts'
import { Downloads } from '../../../src/download/downloads.ts'
import { createDownloadMetrics } from '../../../src/download/metrics.ts'
import { createLaneMetrics } from '../../../src/lane/metrics.ts'
import type { BlobStore } from '../../../src/store/store.ts'
import { WorkerPool } from '../../../src/workers/pool.ts'
import { makeContent, makeStore, metricOf, putBlob } from '../store/kit.ts'
import { SmallDisk, whyNoTmpfs } from '../store/tmpfs.ts'
import { MemoryNetwork } from '../swarm/memory-network.ts'
import { options } from './world.ts'

const MIB = 1024 * 1024
const LANE = {
  host: '127.0.0.1',
  port: 0,
  uploadSlots: 1,
  idleCloseMs: 1000,
  stallTimeoutMs: 1000,
  connectTimeoutMs: 1000,
}
const LIMITS = {
  connectTimeoutMs: 2000,
  headersTimeoutMs: 5000,
  progressTimeoutMs: 5000,
  totalTimeoutMs: 5000,
  connections: 4,
}
const old = makeContent('old', 3 * MIB)
const wanted = makeContent('wanted', 2 * MIB + 500_000)
const source = { registry: 'origin', repository: 'app' }
const request = { digest: wanted.digest, size: wanted.bytes.byteLength, source }
const wholeRange = { start: 0, end: wanted.bytes.byteLength - 1 }

/** An engine with real worker threads and a real origin, without a scheduler, on a disk that can be filled. */
let folder: string
let server: Server
let answer: (request: IncomingMessage, response: ServerResponse) => void
let pool: WorkerPool
let origin: OriginClient
let disk: SmallDisk
let store: BlobStore
let downloads: Downloads
let registry: Registry
let heard: string[]

function silentCoordinator(): Coordinator {
  const hear = (name: string) => (digest: string) =>
    void heard.push(`${name} ${digest === old.digest ? 'old' : 'wanted'}`)
  return {
    isConnected: false,
    holding: hear('holding'),
    holdingPart: hear('holdingPart'),
    withdrawn: hear('withdrawn'),
    join: hear('join'),
    leave: hear('leave'),
    pieceEnding: () => {},
    pieceDone: () => {},
    pieceFetched: () => {},
    pieceFailed: () => {},
    leaseProgress: () => {},
    leaseFailed: () => {},
    pieceMap: () => {},
  }
}

/** Answers the first request with `bytes` of the blob and waits then for `go`; all others at once. */
function stopAfter(bytes: number, go: Promise<void>): void {
  let isFirst = true
  answer = (asked, response) => {
    if (!isFirst) return sendBlob(asked, response, wanted.bytes)
    isFirst = false
    response.writeHead(200, { 'content-length': wanted.bytes.byteLength })
    response.write(wanted.bytes.subarray(0, bytes))
    void go.then(() => response.end(wanted.bytes.subarray(bytes)))
  }
}

const never = new AbortController().signal

async function read(range = wholeRange, after = { bytes: -1, act: () => {} }) {
  const signal = AbortSignal.timeout(10_000)
  const reader = await downloads.open(request, signal)
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of reader.read(range, signal)) {
      chunks.push(Buffer.from(chunk))
      const before = length
      length += chunk.byteLength
      if (before < after.bytes && length >= after.bytes) after.act()
    }
  } finally {
    await reader.close()
  }
  return Buffer.concat(chunks)
}

/** A node of its own on the disk, as after a restart. */
async function openEngine(): Promise<void> {
  registry = new Registry()
  const log = createLogger('test', 'silent')
  // What statfs would say where others have quotas: the store learns of the full disk by its writes only.
  store = makeStore(disk.folder, {}, { hasher: pool, freeBytes: () => 64 * MIB }).store
  downloads = new Downloads(
    { ...options, originStreams: 1, schedulerGraceMs: 0 },
    {
      store,
      workers: pool,
      hasher: pool,
      coordinator: silentCoordinator(),
      metrics: createDownloadMetrics(registry, () => 0),
      log,
      now: () => performance.now(),
      random: Math.random,
      finder: new MemoryNetwork().join('self', { holdings: async () => undefined, fetchForOthers: async () => {} }),
      begun: () => {},
      published: () => {},
      origin: {
        blobSize: async (digest, of, signal) => (await origin.headBlob({ ...of, digest, signal })).size,
        fetchBlob: (call, onChunk) => origin.fetchBlob(call, onChunk),
      },
      possessions: { isProven: () => true, proven: () => {} },
      bootstrap: () => {},
    },
  )
  store.follow({
    moved: (digest) => pool.forget(digest),
    withdrawn: (digest) => downloads.withdrawn(digest),
    adopted: () => {},
  })
  await store.start()
  await downloads.start()
}

async function flipBit(path: string, offset: number): Promise<void> {
  const bytes = await readFile(path)
  bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset)
  await writeFile(path, bytes)
}

const passedBytes = () => metricOf(registry, 'shoal_node_pass_through_bytes_total')

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-full-'))
  server = createServer((asked, response) => answer(asked, response)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const origins = { origins: { origin: { url: `http://127.0.0.1:${port}` } }, allowUnlisted: false, limits: LIMITS }
  const log = createLogger('test', 'silent')
  const metrics = new Registry()
  origin = new OriginClient(origins, { log })
  pool = new WorkerPool(
    { threads: 1, lane: LANE, origins },
    {
      identity: await loadOrCreateIdentity(join(folder, 'key')),
      log,
      metrics: createLaneMetrics(metrics),
      originMetrics: createOriginMetrics(metrics),
      lookup: () => undefined,
    },
  )
  await pool.start()
})
afterAll(async () => {
  await pool.stop()
  await origin.close()
  server.closeAllConnections()
  server.close()
  await rm(folder, { recursive: true })
})

describe.skipIf(whyNoTmpfs() !== undefined)('downloads on a full disk', () => {
  beforeEach(async () => {
    disk = await SmallDisk.mount(10 * MIB)
    heard = []
    answer = (asked, response) => sendBlob(asked, response, wanted.bytes)
    await openEngine()
  })
  afterEach(async () => {
    await downloads.stop()
    await store.stop()
    await disk.unmount()
  })

  it('keep a blob that fits, and pass nothing through', async () => {
    expect((await read()).equals(wanted.bytes)).toBe(true)
    expect(store.find(wanted.digest)?.isComplete).toBe(true)
    expect(await passedBytes()).toBe(0)
  })

  it('evict what is not in use when a worker thread finds the disk full', async () => {
    await putBlob(store, old.bytes)
    const go = Promise.withResolvers<void>()
    stopAfter(1 * MIB, go.promise)
    const bytes = await read(wholeRange, {
      bytes: 512 * 1024,
      act: () => {
        disk.fill()
        go.resolve()
      },
    })
    expect(bytes.equals(wanted.bytes)).toBe(true)
    expect(store.find(old.digest)).toBeUndefined()
    expect(store.find(wanted.digest)?.isComplete).toBe(true)
    expect(heard).toContain('withdrawn old')
    expect(await passedBytes()).toBe(0)
  })

  it('go on from the origin in the middle of a read when nothing may go', async () => {
    const go = Promise.withResolvers<void>()
    stopAfter(1 * MIB, go.promise)
    const bytes = await read(wholeRange, {
      bytes: 512 * 1024,
      act: () => {
        disk.fill()
        go.resolve()
      },
    })
    expect(bytes.equals(wanted.bytes)).toBe(true)
    const passed = (await passedBytes()) ?? 0
    expect(passed).toBeGreaterThan(1 * MIB)
    expect(passed).toBeLessThan(wanted.bytes.byteLength)
    expect(downloads.summaries()).toMatchObject([{ digest: wanted.digest, state: 'failed' }])
    expect(store.find(wanted.digest)?.isComplete).toBe(false)
    expect(heard).toContain('leave wanted')
  })

  it('pass a blob through when not even its file can be made', async () => {
    await putBlob(store, old.bytes)
    const unpin = store.pin(old.digest)
    disk.fill()
    // The last block of the index's log is used up too.
    for (let i = 0; i < 200; i++) await store.index.put(`x${i}`, Buffer.alloc(64)).catch(() => {})
    expect((await read()).equals(wanted.bytes)).toBe(true)
    expect(await read({ start: 5, end: 2 * MIB })).toEqual(wanted.bytes.subarray(5, 2 * MIB + 1))
    expect(store.find(wanted.digest)).toBeUndefined()
    expect(await readdir(join(disk.folder, 'partial'))).toEqual([])
    expect(await passedBytes()).toBe(wanted.bytes.byteLength + 2 * MIB - 4)
    unpin()
    expect((await read()).equals(wanted.bytes)).toBe(true)
    expect(store.find(wanted.digest)?.isComplete).toBe(true)
  })

  it('never give wrong bytes of the origin as a whole blob', async () => {
    await putBlob(store, old.bytes)
    store.pin(old.digest)
    disk.fill()
    for (let i = 0; i < 200; i++) await store.index.put(`x${i}`, Buffer.alloc(64)).catch(() => {})
    const wrong = Buffer.from(wanted.bytes)
    wrong[3] = (wrong[3] ?? 0) ^ 1
    answer = (asked, response) => sendBlob(asked, response, wrong)
    await expect(read()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
  })

  it('never give what rotted on disk while the node was down: the rest comes from the origin, and then all of it anew', async () => {
    await read()
    await downloads.stop()
    await store.stop()
    const hex = wanted.digest.slice('sha256:'.length)
    await flipBit(join(disk.folder, 'blobs/sha256', hex.slice(0, 2), hex), 2 * MIB + 5)
    await openEngine()
    expect((await read()).equals(wanted.bytes)).toBe(true)
    expect(await passedBytes()).toBe(wanted.bytes.byteLength - 2 * MIB)
    expect(await metricOf(registry, 'shoal_node_damaged_blobs_total')).toBe(1)
    expect(heard).toContain('withdrawn wanted')
    expect(store.find(wanted.digest)).toBeUndefined()
    expect((await read()).equals(wanted.bytes)).toBe(true)
    expect(store.find(wanted.digest)?.isComplete).toBe(true)
  })

  it('serve a blob whose file was cut short or deleted behind the back of the store', async () => {
    await read()
    const file = store.find(wanted.digest)?.file ?? ''
    await truncate(file, 1 * MIB)
    expect((await read()).equals(wanted.bytes)).toBe(true)
    expect(await passedBytes()).toBeGreaterThan(1 * MIB)
    // It was given up at the first piece, and is fetched again.
    await read()
    await rm(store.find(wanted.digest)?.file ?? '')
    expect((await read()).equals(wanted.bytes)).toBe(true)
    expect(heard).toContain('withdrawn wanted')
    expect(store.find(wanted.digest)?.isComplete).toBe(true)
  })

  it('never evict a blob that is read, or on its way, and end a mere lease whose pieces were evicted', async () => {
    await putBlob(store, old.bytes)
    const reader = await downloads.open({ ...request, digest: old.digest, size: old.bytes.byteLength }, never)
    const go = Promise.withResolvers<void>()
    stopAfter(1 * MIB, go.promise)
    const opening = downloads.open(request, never)
    await opening.then(async (wish) => {
      expect(await store.makeRoom(1, store.evictedBytes)).toBe(0)
      go.resolve()
      await wish.close()
    })
    await reader.close()
    expect(await store.makeRoom(1, store.evictedBytes)).toBe(3 * MIB)
    await expect.poll(() => store.find(wanted.digest)?.isComplete).toBe(true)
    await store.discard(wanted.digest)
    const { count } = (await store.create(wanted.digest, request.size)).layout
    downloads.leased({
      digest: wanted.digest,
      size: request.size,
      origin: source,
      firstPiece: 0,
      pieceCount: count - 1,
    })
    await expect.poll(() => store.find(wanted.digest)?.have.held).toBe(count - 1)
    await expect.poll(() => store.makeRoom(1, store.evictedBytes)).toBe(request.size)
    expect(downloads.activeCount).toBe(0)
    expect(heard.slice(-2)).toEqual(['leave wanted', 'withdrawn wanted'])
  })
})
