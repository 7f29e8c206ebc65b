import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeFrame } from '../../../src/lane/frames.ts'
import type { LaneParent } from '../../../src/lane/piece-fetch.ts'
import { NodeLimits } from '../../../src/limits/node-limits.ts'
import { NO_LIMITS } from '../../../src/limits/options.ts'
import {
  blob,
  dial,
  folder,
  HELLO,
  never,
  requestFrame,
  startClient,
  startParent,
  startServer,
  target,
  until,
  useEnds,
} from './ends.ts'
import { newNode } from './world.ts'

useEnds()

const MIB = 1024 * 1024
/** What a bucket saves up while it is idle, seconds (BURST_NS). */
const BURST_SECONDS = 0.1
const PIECES = Array.from({ length: 12 }, (_, piece) => piece)

/** The least time that `bytes` take of which the last `slice` need no waiting after them, milliseconds. */
const leastMs = (bytes: number, slice: number, rate: number) => ((bytes - slice) / rate - BURST_SECONDS) * 1000

/** Fetches PIECES, so many at once; returns how long it took, milliseconds. */
async function fetchAll(
  client: ReturnType<typeof startClient>['client'],
  parent: LaneParent,
  { name, atOnce }: { name: string; atOnce: number },
): Promise<number> {
  const file = join(folder.path, name)
  await writeFile(file, '')
  const turns = PIECES.values()
  const fetchSome = async () => {
    for (const piece of turns) await client.fetch(blob.request(piece, file, parent), never)
  }
  const beganMs = performance.now()
  await Promise.all(Array.from({ length: atOnce }, fetchSome))
  const tookMs = performance.now() - beganMs
  expect((await readFile(file)).equals(blob.bytes.subarray(0, PIECES.length * blob.layout.pieceSize))).toBe(true)
  return tookMs
}

describe('upload limit', () => {
  it('holds over all connections', async () => {
    const rate = 12 * MIB
    const limits = new NodeLimits({ ...NO_LIMITS, uploadBytesPerSecond: rate })
    const { parent } = await startServer({ uploadSlots: 24, limits })
    const clients = [startClient(), startClient()]
    const tookMs = await Promise.all(
      clients.map(({ client }, i) => fetchAll(client, parent, { name: `up${i}`, atOnce: 3 })),
    )
    expect(Math.max(...tookMs)).toBeGreaterThanOrEqual(leastMs(12 * MIB, rate / 16, rate))
  })

  it('is not taken for a stall, and lifted while a piece waits', async () => {
    const limits = new NodeLimits({ ...NO_LIMITS, uploadBytesPerSecond: 64 * 1024 })
    const { parent, slots } = await startServer({ limits })
    const { client, counts } = startClient({ stallTimeoutMs: 1000 })
    const fetching = client.fetch(blob.request(0, target, parent), never)
    await until(() => limits.own.upload.debtNs() > 0)
    expect(slots.held()).toBe(1)
    limits.change(NO_LIMITS)
    await fetching
    expect(counts.requests('received', 'ok')).toBe(1)
  })

  it('sends one piece at a time when it is low', async () => {
    const limits = new NodeLimits({ ...NO_LIMITS, uploadBytesPerSecond: MIB })
    const { parent } = await startServer({ uploadSlots: 8, limits })
    const { client } = startClient()
    const first = client.fetch(blob.request(0, target, parent), never)
    await until(() => limits.own.upload.debtNs() > 0)
    await expect(client.fetch(blob.request(1, target, parent), never)).rejects.toMatchObject({ code: 'busy' })
    await first
  })

  it('frees the slot of a peer that leaves while its piece waits', async () => {
    const limits = new NodeLimits({ ...NO_LIMITS, uploadBytesPerSecond: 64 * 1024 })
    const { parent, slots, counts } = await startServer({ limits })
    const socket = await dial(parent)
    socket.write(Buffer.concat([HELLO, requestFrame(0), requestFrame(1)]))
    await until(() => slots.held() > 0 && limits.own.upload.debtNs() > 0)
    socket.destroy()
    await until(() => slots.held() === 0 && counts.openConnections('sent') === 0)
    expect(counts.requests('sent', 'aborted') + counts.requests('sent', 'busy')).toBe(2)
  })
})

describe('download limit', () => {
  it('holds over all connections, and nobody stalls by it', async () => {
    const rate = 6 * MIB
    const limits = new NodeLimits({ ...NO_LIMITS, downloadBytesPerSecond: rate })
    const parents = [await startServer({ uploadSlots: 24 }), await startServer({ uploadSlots: 24 })]
    // Far less than the whole takes: it would end the fetch if it ran while we do not read.
    const { client } = startClient({ limit: limits.own.download, stallTimeoutMs: 500 })
    const tookMs = await Promise.all(
      parents.map(({ parent }, i) => fetchAll(client, parent, { name: `down${i}`, atOnce: PIECES.length })),
    )
    // What came after the debt was last paid off is at most what each connection reads at once.
    expect(Math.max(...tookMs)).toBeGreaterThanOrEqual(leastMs(12 * MIB, 2 * 64 * 1024, rate))
  })

  it('does not run the stall timeout while it is we who do not read', async () => {
    const limits = new NodeLimits({ ...NO_LIMITS, downloadBytesPerSecond: 64 * 1024 })
    const { parent } = await startServer()
    const { client } = startClient({ limit: limits.own.download, stallTimeoutMs: 20 })
    const fetching = client.fetch(blob.request(0, target, parent), never)
    await until(() => limits.own.download.debtNs() > 0)
    limits.change({ ...NO_LIMITS, downloadBytesPerSecond: MIB })
    await fetching
  })

  it('still finds a parent that stalls', async () => {
    const limits = new NodeLimits({ ...NO_LIMITS, downloadBytesPerSecond: MIB })
    const parent = await startParent((request, socket) => {
      if (request.type !== 'request') return
      socket.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
      socket.write(blob.piece(request.piece).subarray(0, request.length / 2))
    })
    const { client } = startClient({ limit: limits.own.download, stallTimeoutMs: 150 })
    await expect(client.fetch(blob.request(0, target, parent), never)).rejects.toMatchObject({ code: 'stalled' })
  })
})

describe('fair sharing', () => {
  it('keeps a greedy requester from starving a modest one', async () => {
    const limits = new NodeLimits({ ...NO_LIMITS, uploadBytesPerSecond: 8 * MIB })
    const { parent, slots } = await startServer({ uploadSlots: 4, limits })
    const { credentials } = await newNode(folder.path, 'greedy')
    const greedy = [0, 1, 2, 3].map(() => startClient({ credentials }))
    const stop = new AbortController()
    const ask = async (client: ReturnType<typeof startClient>['client'], piece: number) => {
      while (!stop.signal.aborted) {
        await client.fetch(blob.request(piece, target, parent), stop.signal).catch(() => {})
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const asking = greedy.flatMap(({ client }) => [0, 1, 2, 3].map((piece) => ask(client, piece)))
    await until(() => slots.held() === 4)

    const modest = startClient()
    const sent = () => greedy.reduce((sum, { counts }) => sum + counts.bytes('received'), 0)
    const before = sent()
    const turns = PIECES.values()
    const fetchSome = async () => {
      for (const piece of turns) await modest.client.fetch(blob.request(piece, target, parent), never)
    }
    // Two at a time: its share. Each fetch throws when the parent says busy.
    await Promise.all([fetchSome(), fetchSome()])
    const greedyBytes = sent() - before
    const modestBytes = modest.counts.bytes('received')
    expect(modestBytes).toBe(6 * MIB)
    // Its share is half; it keeps it only as well as this one process gets round to all of its connections.
    expect(modestBytes / (modestBytes + greedyBytes)).toBeGreaterThan(0.3)
    expect(greedy.reduce((sum, { counts }) => sum + counts.requests('received', 'busy'), 0)).toBeGreaterThan(0)
    stop.abort()
    await Promise.all(asking)
  })
})
