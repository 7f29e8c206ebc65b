import { describe, expect, it } from 'vitest'
import { isOriginAway } from '../../src/errors.ts'
import { rateHoldMemory } from '../../src/rate-holds.ts'
import { clientFor, clientOf, collect, makeBlob, NEVER, sendBlob, serve } from './fixtures.ts'

const BLOB = makeBlob(1000)
const call = (host: string) => ({ registry: host, repository: 'a/b', digest: BLOB.digest, signal: NEVER })
const manifest = (host: string) => ({ ...call(host), reference: 'latest' })
const basic = (user: string) => `Basic ${Buffer.from(`${user}:x`).toString('base64')}`

/** Answers 429 while its rate is limited. */
async function limited(retryAfter?: string) {
  const limit = { isOn: true }
  const server = await serve((request, response) => {
    if (!limit.isOn) return sendBlob(request, response, BLOB.bytes)
    response.writeHead(429, retryAfter === undefined ? {} : { 'retry-after': retryAfter }).end('{}')
  })
  return { server, limit }
}

describe('an origin that limits our rate', () => {
  it('is told at once, and nothing more is asked of it until then, whatever it is about', async () => {
    const { server, limit } = await limited('20')
    let now = 1_000_000
    const client = clientOf(server, { now: () => now })
    const error = await client.headManifest(manifest(server.host)).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 20_000 })
    expect(isOriginAway(error)).toBe(true)
    now += 5_000
    const others = [
      client.getManifest({ ...manifest(server.host), repository: 'other/app' }),
      client.headBlob(call(server.host)),
      client.listTags(call(server.host)),
      client.fetchBlob({ ...call(server.host), size: BLOB.size, start: 0, end: 9 }, () => {}),
    ]
    for (const result of await Promise.allSettled(others)) {
      expect(result).toMatchObject({ reason: { code: 'RATE_LIMITED', retryAfterMs: 15_000 } })
    }
    expect(server.requests).toHaveLength(1)
    expect(client.waits).toEqual([])
    limit.isOn = false
    now += 15_000
    expect(await client.headBlob(call(server.host))).toEqual({ size: BLOB.size })
  })

  it('is waited for when that is short, by all who ask', async () => {
    const { server, limit } = await limited('20')
    let now = 1_000_000
    const client = clientOf(server, { now: () => now })
    await client.headBlob(call(server.host)).catch(() => {})
    now += 18_000
    limit.isOn = false
    const heads = Array.from({ length: 3 }, () => client.headBlob(call(server.host)))
    expect(await Promise.all(heads)).toHaveLength(3)
    expect(client.waits).toEqual([2000, 2000, 2000])
  })

  it('costs who has something to stand in no wait at all', async () => {
    const { server } = await limited('1')
    const client = clientOf(server)
    await expect(client.headManifest({ ...manifest(server.host), maxWaitMs: 0 })).rejects.toMatchObject({
      code: 'RATE_LIMITED',
    })
    expect(client.waits).toEqual([])
    expect(server.requests).toHaveLength(1)
  })

  it('is never waited for longer than 4 s in all', async () => {
    const { server } = await limited('1')
    const client = clientOf(server)
    await expect(client.headBlob(call(server.host))).rejects.toMatchObject({ code: 'RATE_LIMITED' })
    expect(client.waits.reduce((sum, wait) => sum + wait)).toBeLessThanOrEqual(4000)
  })

  it('limits an account, and is asked by others', async () => {
    const { server } = await limited('20')
    const client = clientOf(server)
    for (const authorization of [undefined, basic('alice'), undefined, basic('alice'), basic('bob')]) {
      await client.headBlob({ ...call(server.host), authorization }).catch(() => {})
    }
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      basic('alice'),
      basic('bob'),
    ])
  })

  it('is left alone by all clients that share what they know', async () => {
    const { server } = await limited('20')
    const origins = { [server.host]: { url: server.url } }
    const holds = rateHoldMemory()
    const [main, worker] = [clientFor(origins, { holds }), clientFor(origins, { holds })]
    await main.headBlob(call(server.host)).catch(() => {})
    await expect(worker.headBlob(call(server.host))).rejects.toMatchObject({ code: 'RATE_LIMITED' })
    expect(server.requests).toHaveLength(1)
  })

  it('does not limit what a registry that redirects to it has besides', async () => {
    const { server: storage } = await limited('20')
    const server = await serve((request, response) => {
      if (request.url?.includes('/manifests/')) return sendBlob(request, response, BLOB.bytes)
      response.writeHead(307, { location: `${storage.url}/x` }).end()
    })
    const client = clientOf(server)
    const whole = { ...call(server.host), size: BLOB.size, start: 0, end: 999 }
    await expect(collect(client, whole)).rejects.toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 20_000 })
    expect(await client.headManifest(manifest(server.host))).toMatchObject({ status: 200 })
  })

  it('is not left alone for longer than an hour', async () => {
    const { server, limit } = await limited('999999999')
    let now = 1_000_000
    const client = clientOf(server, { now: () => now })
    await client.headBlob(call(server.host)).catch(() => {})
    limit.isOn = false
    now += 3_600_001
    expect(await client.headBlob(call(server.host))).toEqual({ size: BLOB.size })
  })
})
