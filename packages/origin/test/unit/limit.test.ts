import { SharedBucket } from '@shoal/core'
import { describe, expect, it } from 'vitest'
import { clientOf, collect, makeBlob, NEVER, sendBlob, serve } from './fixtures.ts'

const MIB = 1024 * 1024
const BURST_SECONDS = 0.1
/** What Node takes from a socket at once. */
const READ_BYTES = 64 * 1024
const BLOB = makeBlob(2 * MIB)
const REPOSITORY = 'library/test'
const call = (host: string) => ({ registry: host, repository: REPOSITORY, digest: BLOB.digest, size: BLOB.size })

function limitTo(bytesPerSecond: number): SharedBucket {
  const limit = new SharedBucket({ cells: new BigInt64Array(new SharedArrayBuffer(8)), index: 0 })
  limit.limitTo(bytesPerSecond)
  return limit
}

describe('origin limit', () => {
  it('holds over all bodies of blobs, and is no stall', async () => {
    const rate = 3 * MIB
    const server = await serve((request, response) => sendBlob(request, response, BLOB.bytes))
    // Less than the whole takes: it would end the body if it ran while we do not read.
    const client = clientOf(server, { limit: limitTo(rate), limits: { progressTimeoutMs: 1000 } })
    const beganMs = performance.now()
    const halves = await Promise.all([
      collect(client, { ...call(server.host), start: 0, end: MIB - 1 }),
      collect(client, { ...call(server.host), start: MIB, end: 2 * MIB - 1 }),
    ])
    const tookMs = performance.now() - beganMs
    expect(tookMs).toBeGreaterThanOrEqual(((2 * MIB - 2 * READ_BYTES) / rate - BURST_SECONDS) * 1000)
    expect(Buffer.concat(halves.map(({ bytes }) => bytes)).equals(BLOB.bytes)).toBe(true)
  })

  it('is lifted while a body waits', async () => {
    const limit = limitTo(64 * 1024)
    const server = await serve((request, response) => sendBlob(request, response, BLOB.bytes))
    const client = clientOf(server, { limit })
    const fetching = collect(client, { ...call(server.host), start: 0, end: BLOB.size - 1 })
    while (limit.debtNs() === 0) await new Promise((resolve) => setImmediate(resolve))
    limit.limitTo(0)
    limit.forgive()
    expect((await fetching).bytes.equals(BLOB.bytes)).toBe(true)
  })

  it('still finds an origin that stalls, and gives up when it is told to', async () => {
    const limit = limitTo(8 * MIB)
    const server = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': BLOB.size })
      response.write(BLOB.bytes.subarray(0, MIB))
    })
    const client = clientOf(server, { limit, limits: { progressTimeoutMs: 100 } })
    const stalling = collect(client, { ...call(server.host), start: 0, end: BLOB.size - 1 })
    await expect(stalling).rejects.toMatchObject({ code: 'STALLED' })
    limit.limitTo(64 * 1024)
    const abort = new AbortController()
    const leaving = collect(client, { ...call(server.host), start: 0, end: BLOB.size - 1, signal: abort.signal })
    leaving.catch(() => {})
    while (limit.debtNs() === 0) await new Promise((resolve) => setImmediate(resolve))
    abort.abort()
    await expect(leaving).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it('does not hold manifests and HEAD requests back', async () => {
    const limit = limitTo(64 * 1024)
    const server = await serve((request, response) => sendBlob(request, response, BLOB.bytes))
    const client = clientOf(server, { limit })
    limit.charge(1024 * MIB)
    expect(await client.headBlob({ ...call(server.host), signal: NEVER })).toEqual({ size: BLOB.size })
  })
})

describe('a receiver that takes its time', () => {
  it('gets one chunk at a time, and is no stall however long it takes', async () => {
    const server = await serve((request, response) => sendBlob(request, response, BLOB.bytes))
    const client = clientOf(server, { limits: { progressTimeoutMs: 50 } })
    const received: Buffer[] = []
    let isBusy = false
    const fetched = client.fetchBlob({ ...call(server.host), start: 0, end: BLOB.size - 1, signal: NEVER }, (chunk) => {
      expect(isBusy).toBe(false)
      isBusy = true
      received.push(Buffer.from(chunk))
      return new Promise<void>((resolve) =>
        setTimeout(
          () => {
            isBusy = false
            resolve()
          },
          received.length === 2 ? 150 : 0,
        ),
      )
    })
    await fetched
    expect(isBusy).toBe(false)
    expect(Buffer.concat(received).equals(BLOB.bytes)).toBe(true)
  })

  it('slows the origin down: what waits is bounded', async () => {
    let sentBytes = 0
    const server = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 64 * MIB })
      const send = () => {
        while (sentBytes < 64 * MIB) {
          sentBytes += READ_BYTES
          if (!response.write(Buffer.alloc(READ_BYTES))) return
        }
      }
      response.on('drain', send)
      send()
    })
    const client = clientOf(server)
    const abort = new AbortController()
    const whole = { ...call(server.host), size: 64 * MIB, start: 0, end: 64 * MIB - 1, signal: abort.signal }
    const fetching = client.fetchBlob(whole, () => new Promise(() => {}))
    fetching.catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 500))
    // What the kernel's buffers of both ends hold.
    expect(sentBytes).toBeLessThan(16 * MIB)
    abort.abort()
    await expect(fetching).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it('ends the request by what it rejects with', async () => {
    const server = await serve((request, response) => sendBlob(request, response, BLOB.bytes))
    const client = clientOf(server)
    const full = new Error('no room')
    const fetching = client.fetchBlob(
      { ...call(server.host), start: 0, end: BLOB.size - 1, signal: NEVER },
      async () => {
        throw full
      },
    )
    await expect(fetching).rejects.toBe(full)
  })
})
