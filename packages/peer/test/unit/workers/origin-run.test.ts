import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { open, readFile, rm } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { join } from 'node:path'
import { createLogger, digestOf, PieceLayout } from '@shoal/core'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { createOriginMetrics } from '@shoal/origin/service'
import { Registry } from 'prom-client'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createLaneMetrics } from '../../../src/lane/metrics.ts'
import { WorkerPool } from '../../../src/workers/pool.ts'
import { temporaryFolder } from '../lane/world.ts'

const content = createHash('shake256', { outputLength: 2_600_000 }).update('origin').digest()
const layout = new PieceLayout(content.byteLength)
const digest = digestOf(content)
const never = new AbortController().signal
const pieceOf = (piece: number) => content.subarray(layout.offset(piece), layout.offset(piece) + layout.length(piece))

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let answer: RequestListener
let origin: Server
let pool: WorkerPool
let file: string
const metrics = new Registry()

beforeAll(async () => {
  folder = await temporaryFolder()
  origin = createServer((request, response) => answer(request, response)).listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port } = origin.address() as { port: number }
  const lane = {
    host: '127.0.0.1',
    port: 0,
    uploadSlots: 1,
    idleCloseMs: 1000,
    stallTimeoutMs: 1000,
    connectTimeoutMs: 1000,
  }
  const limits = {
    connectTimeoutMs: 2000,
    headersTimeoutMs: 2000,
    progressTimeoutMs: 2000,
    totalTimeoutMs: 2000,
    connections: 4,
  }
  const origins = { origins: { origin: { url: `http://127.0.0.1:${port}` } }, allowUnlisted: false, limits }
  pool = new WorkerPool(
    { threads: 1, lane, origins },
    {
      identity: await loadOrCreateIdentity(join(folder.path, 'key')),
      log: createLogger('test', 'silent'),
      metrics: createLaneMetrics(metrics),
      originMetrics: createOriginMetrics(metrics),
      lookup: () => undefined,
    },
  )
  await pool.start()
  file = join(folder.path, 'partial')
})
afterAll(async () => {
  await pool.stop()
  origin.close()
  await folder.remove()
})
afterEach(() => rm(file))

/** Fetches pieces 1 to `count` of the blob; returns what was told on the way. */
async function fetchRun(count: number, from = 'origin') {
  const handle = await open(file, 'w')
  await handle.truncate(content.byteLength)
  await handle.close()
  const told: number[] = []
  const source = { registry: from, repository: 'app', authorization: 'Bearer t' }
  const request = { digest, size: content.byteLength, firstPiece: 1, pieceCount: count, file, source }
  const done = pool.fetchFromOrigin(
    request,
    (piece, sha256) => {
      expect(Buffer.from(sha256)).toEqual(createHash('sha256').update(pieceOf(piece)).digest())
      told.push(piece)
    },
    never,
  )
  return { done, told }
}

const serveRange: RequestListener = (request, response) => {
  const [, start, end] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? []
  const part = content.subarray(Number(start), Number(end) + 1)
  response.writeHead(206, {
    'content-range': `bytes ${start}-${end}/${content.byteLength}`,
    'content-length': part.byteLength,
  })
  response.end(part)
}

describe('fetchFromOrigin', () => {
  it('writes the pieces of a run and tells of each, in one request with the credentials', async () => {
    const seen: unknown[] = []
    answer = (request, response) => {
      seen.push([request.url, request.headers.range, request.headers.authorization])
      serveRange(request, response)
    }
    const { done, told } = await fetchRun(3)
    expect(await done).toEqual({ rangesIgnored: false })
    expect(told).toEqual([1, 2, 3])
    const end = layout.offset(4) - 1
    expect(seen).toEqual([[`/v2/app/blobs/${digest}?ns=origin`, `bytes=${layout.offset(1)}-${end}`, 'Bearer t']])
    const written = await readFile(file)
    expect(written.subarray(layout.offset(1), end + 1).equals(content.subarray(layout.offset(1), end + 1))).toBe(true)
    expect(written.subarray(0, layout.offset(1)).every((byte) => byte === 0)).toBe(true)
  })

  it('says that ranges are ignored, and takes its part of the whole', async () => {
    answer = (_request, response) => response.end(content)
    const { done, told } = await fetchRun(2)
    expect(await done).toEqual({ rangesIgnored: true })
    expect(told).toEqual([1, 2])
  })

  it('tells of the pieces that came before a failure, and then of the failure', async () => {
    let requests = 0
    answer = (request, response) => {
      if (requests++ > 0) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
        return
      }
      response.writeHead(206, {
        'content-range': `bytes ${layout.offset(1)}-${layout.offset(4) - 1}/${content.byteLength}`,
      })
      response.write(content.subarray(layout.offset(1), layout.offset(3) + 10), () => response.destroy())
      void request
    }
    const { done, told } = await fetchRun(3)
    await expect(done).rejects.toMatchObject({ code: 'UNAUTHORIZED', challenges: ['Basic realm="x"'] })
    expect(told).toEqual([1, 2])
    const failed = await metrics.getSingleMetric('shoal_origin_requests_total')?.get()
    expect(failed?.values.find(({ labels }) => labels.outcome === 'unauthorized')?.value).toBe(1)
  })

  it('refuses an origin that is not listed', async () => {
    const { done } = await fetchRun(1, 'other.example')
    await expect(done).rejects.toMatchObject({ code: 'NOT_ALLOWED' })
  })
})
