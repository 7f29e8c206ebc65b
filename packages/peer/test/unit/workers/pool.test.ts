import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { appendFile, copyFile, open, readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { createLogger } from '@shoal/core'
import { type Identity, loadOrCreateIdentity } from '@shoal/core/service'
import { createOriginMetrics } from '@shoal/origin/service'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HeldBlob } from '../../../src/lane/held-blobs.ts'
import { createLaneMetrics } from '../../../src/lane/metrics.ts'
import { NodeLimits } from '../../../src/limits/node-limits.ts'
import { NO_LIMITS } from '../../../src/limits/options.ts'
import { WorkerPool } from '../../../src/workers/pool.ts'
import { TestBlob, temporaryFolder } from '../lane/world.ts'

const MIB = 1024 * 1024
const LANE = {
  host: '127.0.0.1',
  port: 0,
  uploadSlots: 64,
  idleCloseMs: 60_000,
  stallTimeoutMs: 5000,
  connectTimeoutMs: 5000,
}
const ORIGINS = {
  origins: {},
  allowUnlisted: false,
  limits: {
    connectTimeoutMs: 3000,
    headersTimeoutMs: 3000,
    progressTimeoutMs: 3000,
    totalTimeoutMs: 3000,
    connections: 4,
  },
}
const never = new AbortController().signal

interface Node {
  pool: WorkerPool
  identity: Identity
  registry: Registry
  held: Map<string, HeldBlob>
  log: string[]
}

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let parent: Node
let child: Node
let blob: TestBlob
const threads: Worker[] = []
const track = (worker: Worker) => threads.push(worker)

async function newPool(
  name: string,
  lane: Partial<typeof LANE> = {},
  threadCount = 2,
  limits = new NodeLimits(),
  busyShare = 0,
): Promise<Node> {
  const identity = await loadOrCreateIdentity(join(folder.path, `${name}.key`))
  const registry = new Registry()
  const held = new Map<string, HeldBlob>()
  const log: string[] = []
  const destination = new Writable({
    write(line, _encoding, done) {
      log.push(String(line))
      done()
    },
  })
  const pool = new WorkerPool(
    { threads: threadCount, busyShare, lane: { ...LANE, ...lane }, origins: ORIGINS },
    {
      identity,
      log: createLogger(name, 'info', destination),
      metrics: createLaneMetrics(registry),
      originMetrics: createOriginMetrics(registry),
      lookup: (digest) => held.get(digest),
      limits,
    },
  )
  return { pool, identity, registry, held, log }
}

const laneOf = (node: Node) => ({ peerId: node.identity.peerId, host: '127.0.0.1', port: node.pool.lanePort })

async function metric(node: Node, name: string, labels: Record<string, string>): Promise<number> {
  const found = await node.registry.getSingleMetric(name)?.get()
  const isIt = (value: { labels: Record<string, unknown> }) =>
    Object.entries(labels).every(([key, text]) => value.labels[key] === text)
  return found?.values.find(isIt)?.value ?? Number.NaN
}

/** A server that takes connections and never says a word. */
async function silentServer() {
  const silent = createServer(() => {})
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const address = silent.address()
  return { silent, port: typeof address === 'object' && address !== null ? address.port : 0 }
}

/** Gives the pool work, and waits until its second thread listens too. */
async function growToTwo(node: Node): Promise<void> {
  await node.pool.hashBlob(await emptyFile('work'), 'sha256', never)
  await untilListening(node, 1)
}

/** Waits until so many threads, after the first, listen; not in haste: they need the CPU to come up. */
async function untilListening(node: Node, threads: number): Promise<void> {
  while (node.log.filter((line) => line.includes('worker thread listening')).length < threads) await delay(10)
}

async function emptyFile(name: string): Promise<string> {
  const file = join(folder.path, name)
  await writeFile(file, '')
  return file
}

beforeAll(async () => {
  process.on('worker', track)
  folder = await temporaryFolder()
  blob = await TestBlob.create(folder.path, 'blob', 20 * MIB + 12_345)
  parent = await newPool('parent')
  child = await newPool('child')
  await Promise.all([parent.pool.start(), child.pool.start()])
  await Promise.all([growToTwo(parent), growToTwo(child)])
  parent.held.set(blob.digest, blob.held)
})

afterAll(async () => {
  await Promise.all([parent.pool.stop(), child.pool.stop()])
  process.off('worker', track)
  await folder.remove()
})

/** How many threads of this process let its main thread go first. */
async function nicerThreads(): Promise<number> {
  // Fields are counted from behind the name, which may hold anything. Source: proc_pid_stat(5), field 19.
  const niceOf = async (stat: string) => Number((await readFile(stat, 'utf8')).split(') ').at(-1)?.split(' ')[16])
  const own = await niceOf('/proc/self/stat')
  const nices = await Promise.all(
    (await readdir('/proc/self/task')).map((id) => niceOf(`/proc/self/task/${id}/stat`).catch(() => own)),
  )
  return nices.filter((nice) => nice > own).length
}

describe('WorkerPool', () => {
  it('brings a blob from one node to another', async () => {
    const file = await emptyFile('whole')
    const pieces = Array.from({ length: blob.layout.count }, (_, piece) => piece)
    // As many at a time as the parent has slots.
    while (pieces.length > 0) {
      const some = pieces
        .splice(0, 16)
        .map((piece) => child.pool.fetchPiece(blob.request(piece, file, laneOf(parent)), never))
      for (const { bytes, durationMs } of await Promise.all(some)) {
        expect(bytes).toBeGreaterThan(0)
        expect(durationMs).toBeGreaterThan(0)
      }
    }
    expect((await readFile(file)).equals(blob.bytes)).toBe(true)
    expect(`sha256:${await child.pool.hashBlob(file, 'sha256', never)}`).toBe(blob.digest)
    expect(await metric(child, 'shoal_lane_bytes_total', { direction: 'received' })).toBe(blob.bytes.length)
    const ok = { direction: 'received', outcome: 'ok' }
    expect(await metric(child, 'shoal_lane_requests_total', ok)).toBe(blob.layout.count)
    if (process.platform === 'linux') expect(await nicerThreads()).toBeGreaterThanOrEqual(2)
    // One connection from each thread, kept.
    expect(await metric(parent, 'shoal_lane_connections', { direction: 'sent' })).toBe(2)
  })

  it('fails with typed errors that name what happened', async () => {
    const file = await emptyFile('errors')
    const request = blob.request(0, file, laneOf(parent))
    const wrongPeer = { ...request, parent: { ...request.parent, peerId: child.identity.peerId } }
    await expect(child.pool.fetchPiece(wrongPeer, never)).rejects.toMatchObject({
      name: 'LaneError',
      code: 'otherPeer',
      data: { expected: child.identity.peerId, found: parent.identity.peerId },
    })
    const nobody = { ...request, parent: { ...request.parent, port: 1 } }
    await expect(child.pool.fetchPiece(nobody, never)).rejects.toMatchObject({ code: 'unreachable' })
    const unknown = { ...request, digest: `sha256:${'0'.repeat(64)}` }
    await expect(child.pool.fetchPiece(unknown, never)).rejects.toMatchObject({ code: 'notHeld' })
    const corrupt = { ...request, sha256: new Uint8Array(32) }
    await expect(child.pool.fetchPiece(corrupt, never)).rejects.toMatchObject({ code: 'corrupt' })
    const full = { ...request, file: '/dev/full' }
    await expect(child.pool.fetchPiece(full, never)).rejects.toMatchObject({
      code: 'local',
      data: { systemCode: 'ENOSPC' },
    })
    expect(await metric(child, 'shoal_lane_requests_total', { direction: 'received', outcome: 'not_held' })).toBe(1)
  })

  it('serves a blob that moved, once told', async () => {
    const moved = join(folder.path, 'moved')
    const other = await TestBlob.create(folder.path, 'other', 2 * MIB)
    parent.held.set(other.digest, other.held)
    const file = await emptyFile('moving')
    await child.pool.fetchPiece(other.request(0, file, laneOf(parent)), never)
    await copyFile(other.held.file, moved)
    parent.held.set(other.digest, { ...other.held, file: moved })
    parent.pool.forget(other.digest)
    await truncate(other.held.file, 0)
    await child.pool.fetchPiece(other.request(1, file, laneOf(parent)), never)
    parent.held.delete(other.digest)
    parent.pool.forget(other.digest)
    await expect(child.pool.fetchPiece(other.request(2, file, laneOf(parent)), never)).rejects.toMatchObject({
      code: 'notHeld',
    })
  })

  it('aborts one fetch without disturbing another', async () => {
    const { silent, port } = await silentServer()
    const file = await emptyFile('abort')
    const abort = new AbortController()
    const before = threads.length
    const hanging = child.pool.fetchPiece(blob.request(0, file, { ...laneOf(parent), port }), abort.signal)
    await once(silent, 'connection')
    abort.abort()
    await expect(hanging).rejects.toMatchObject({ code: 'aborted' })
    await expect(child.pool.fetchPiece(blob.request(0, file, laneOf(parent)), abort.signal)).rejects.toMatchObject({
      code: 'aborted',
    })
    await child.pool.fetchPiece(blob.request(0, file, laneOf(parent)), never)
    expect(threads.length).toBe(before)
    silent.close()
  })

  it('hashes blobs and pieces, also of files that are too short or absent', async () => {
    const { held, bytes, layout } = blob
    const sha512 = createHash('sha512').update(bytes).digest('hex')
    expect(await child.pool.hashBlob(held.file, 'sha512', never)).toBe(sha512)
    const short = await emptyFile('short')
    await appendFile(short, bytes.subarray(0, layout.offset(2) + 1))
    const hashes = await child.pool.hashPieces(short, bytes.length, [1, 0, 2, layout.count - 1], never)
    const sha256 = (piece: number) => new Uint8Array(createHash('sha256').update(blob.piece(piece)).digest())
    expect(hashes).toEqual([sha256(1), sha256(0), new Uint8Array(0), new Uint8Array(0)])
    await expect(child.pool.hashBlob(join(folder.path, 'absent'), 'sha256', never)).rejects.toMatchObject({
      code: 'local',
      data: { systemCode: 'ENOENT' },
    })
  })

  it('aborts hashing', async () => {
    const large = join(folder.path, 'large')
    const handle = await open(large, 'w')
    await handle.truncate(8 * 1024 * MIB)
    await handle.close()
    const abort = new AbortController()
    const hashing = child.pool.hashBlob(large, 'sha256', abort.signal)
    setImmediate(() => abort.abort())
    await expect(hashing).rejects.toMatchObject({ code: 'aborted' })
  })

  it('starts its other threads when somebody connects', async () => {
    const node = await newPool('asleep')
    const first = threads.length
    await node.pool.start()
    node.held.set(blob.digest, blob.held)
    expect(threads.length).toBe(first + 1)
    await child.pool.fetchPiece(blob.request(0, await emptyFile('awake'), laneOf(node)), never)
    while (threads.length < first + 2) await delay(10)
    await node.pool.stop()
  })

  it('starts its other threads when the first is busy, and not before', async () => {
    const node = await newPool('thrifty', {}, 2, new NodeLimits(), 0.6)
    const first = threads.length
    await node.pool.start()
    const many = await emptyFile('many')
    await truncate(many, 64 * MIB)
    const isGrown = () => threads.length > first + 1
    for (let i = 0; i < 6; i++) {
      await node.pool.hashBlob(await emptyFile('few'), 'sha256', never)
      await delay(200)
    }
    expect(isGrown()).toBe(false)
    while (!isGrown()) await node.pool.hashBlob(many, 'sha256', never)
    await untilListening(node, 1)
    await node.pool.stop()
  })

  it('fetches from the first moment, also on a thread that is only coming up', async () => {
    const node = await newPool('fresh')
    await node.pool.start()
    // Each of four goes on fetching a piece of its own until the second thread is there.
    const fetching = [0, 1, 2, 3].map(async (piece) => {
      const file = await emptyFile(`fresh-${piece}`)
      while (!node.log.some((line) => line.includes('worker thread listening'))) {
        await node.pool.fetchPiece(blob.request(piece, file, laneOf(parent)), never)
      }
    })
    await Promise.all(fetching)
    await node.pool.stop()
  })

  it('refuses a port that is in use', async () => {
    const second = await newPool('second', { port: parent.pool.lanePort })
    await expect(second.pool.start()).rejects.toMatchObject({ code: 'PORT_IN_USE' })
    const nowhere = await newPool('nowhere', { host: '192.0.2.1' })
    await expect(nowhere.pool.start()).rejects.toMatchObject({ code: 'LISTEN_FAILED' })
    await second.pool.stop()
  })

  it('goes on with a new thread when one dies, and says so', async () => {
    const node = await newPool('frail')
    const first = threads.length
    await node.pool.start()
    expect(threads.length).toBe(first + 1)
    await growToTwo(node)
    expect(threads.length).toBe(first + 2)
    const [one, two] = threads.slice(first)
    const port = node.pool.lanePort
    const file = await emptyFile('frail')
    node.held.set(blob.digest, blob.held)

    // Two tasks, one in each thread, that wait for a server that never answers.
    const { silent, port: silentPort } = await silentServer()
    const request = blob.request(0, file, { ...laneOf(node), port: silentPort })
    const hanging = [node.pool.fetchPiece(request, never), node.pool.fetchPiece(request, never)]
    const results = Promise.allSettled(hanging)
    await once(silent, 'connection')
    // What Piscina's start-up code does not expect: it throws, outside of any task.
    one?.postMessage({ port: undefined, niceIncrement: 0 })
    two?.postMessage({ port: undefined, niceIncrement: 0 })
    for (const result of await results) {
      expect(result).toMatchObject({ status: 'rejected', reason: { name: 'LaneError', code: 'local' } })
    }
    await untilListening(node, 3)
    expect(node.log.some((line) => line.includes('worker thread failed'))).toBe(true)
    expect(node.pool.lanePort).toBe(port)
    await child.pool.fetchPiece(blob.request(0, await emptyFile('again'), laneOf(node)), never)
    await node.pool.stop()
    silent.close()
  })

  it('stops with what is under way, twice, and starts again on its port', async () => {
    const node = await newPool('phoenix', {}, 1)
    const first = threads.length
    await node.pool.start()
    const port = node.pool.lanePort
    const { silent, port: silentPort } = await silentServer()
    const file = await emptyFile('phoenix')
    const hanging = node.pool.fetchPiece(blob.request(0, file, { ...laneOf(node), port: silentPort }), never)
    hanging.catch(() => {})
    await once(silent, 'connection')
    await Promise.all([node.pool.stop(), node.pool.stop()])
    await expect(hanging).rejects.toMatchObject({ code: 'aborted' })
    await expect(node.pool.hashBlob(file, 'sha256', never)).rejects.toMatchObject({ code: 'aborted' })
    expect(node.pool.lanePort).toBe(0)
    // A thread that has ended has no number any more.
    expect(threads.slice(first).map(({ threadId }) => threadId)).toEqual([-1])
    silent.close()

    const again = await newPool('phoenix', { port }, 1)
    again.held.set(blob.digest, blob.held)
    await again.pool.start()
    expect(again.pool.lanePort).toBe(port)
    await child.pool.fetchPiece(blob.request(0, file, laneOf(again)), never)
    await again.pool.stop()
    await again.pool.start()
    await child.pool.fetchPiece(blob.request(1, file, laneOf(again)), never)
    await again.pool.stop()
  })

  describe('under limits', () => {
    const RATE = 6 * MIB
    const BURST_SECONDS = 0.1
    const pieces = Array.from({ length: 12 }, (_, piece) => piece)

    /** How long `node` takes for 6 MiB from `from`, so many pieces at once, milliseconds. */
    async function timeOf(node: Node, from: Node, atOnce: number): Promise<number> {
      const file = await emptyFile('limited')
      const turns = pieces.values()
      const fetchSome = async () => {
        for (const piece of turns) await node.pool.fetchPiece(blob.request(piece, file, laneOf(from)), never)
      }
      const beganMs = performance.now()
      await Promise.all(Array.from({ length: atOnce }, fetchSome))
      return performance.now() - beganMs
    }

    it('keeps to what it may send, over all threads', async () => {
      const limits = new NodeLimits({ ...NO_LIMITS, uploadBytesPerSecond: RATE })
      const node = await newPool('slow-sender', {}, 2, limits)
      node.held.set(blob.digest, blob.held)
      await node.pool.start()
      expect(await timeOf(child, node, 2)).toBeGreaterThanOrEqual(((6 * MIB - RATE / 16) / RATE - BURST_SECONDS) * 1000)
      limits.change({ ...NO_LIMITS, uploadBytesPerSecond: 64 * 1024 })
      const file = await emptyFile('lifted')
      const slow = child.pool.fetchPiece(blob.request(0, file, laneOf(node)), never)
      while (limits.own.upload.debtNs() === 0) await new Promise((resolve) => setImmediate(resolve))
      limits.change(NO_LIMITS)
      await slow
      await node.pool.stop()
    })

    it('keeps to what it may receive, over all threads, also in one that took the place of another', async () => {
      const limits = new NodeLimits({ ...NO_LIMITS, downloadBytesPerSecond: RATE })
      const node = await newPool('slow-receiver', {}, 1, limits)
      const first = threads.length
      await node.pool.start()
      const least = ((6 * MIB - 2 * 64 * 1024) / RATE - BURST_SECONDS) * 1000
      // More at once than the limit lets in: the others wait in the node.
      expect(await timeOf(node, parent, pieces.length)).toBeGreaterThanOrEqual(least)
      threads[first]?.postMessage({ port: undefined, niceIncrement: 0 })
      await untilListening(node, 1)
      expect(await timeOf(node, parent, pieces.length)).toBeGreaterThanOrEqual(least)
      await node.pool.stop()
    })

    it('stops with fetches that wait to be begun', async () => {
      const limits = new NodeLimits({ ...NO_LIMITS, downloadBytesPerSecond: 64 * 1024 })
      const node = await newPool('stopping', {}, 1, limits)
      await node.pool.start()
      const file = await emptyFile('stopping')
      const fetches = [0, 1, 2].map((piece) => node.pool.fetchPiece(blob.request(piece, file, laneOf(parent)), never))
      const ended = Promise.allSettled(fetches)
      while (limits.own.download.debtNs() === 0) await new Promise((resolve) => setImmediate(resolve))
      await node.pool.stop()
      for (const result of await ended) expect(result).toMatchObject({ reason: { code: 'aborted' } })
    })
  })
})
