import { createServer } from 'node:net'
import { Registry } from 'prom-client'
import { describe, expect, it } from 'vitest'
import type { OriginClient } from '../../src/client.ts'
import { createOriginMetrics } from '../../src/service/metrics.ts'
import { clientFor, clientOf, collect, makeBlob, NEVER, sendBlob, serve } from './fixtures.ts'

const BLOB = makeBlob(1000)
const call = (host: string) => ({ registry: host, repository: 'a/b', digest: BLOB.digest, signal: NEVER })

/** Answers with these statuses (and headers), then like a good origin. */
async function after(...refusals: [number, Record<string, string>?][]) {
  const server = await serve((request, response) => {
    const refusal = refusals[server.requests.length - 1]
    if (refusal === undefined) return sendBlob(request, response, BLOB.bytes)
    response.writeHead(refusal[0], refusal[1]).end('{}')
  })
  return server
}

/** Asks for a whole blob: a failed HEAD would have a GET decide. */
const fetch = (client: OriginClient, host: string) => collect(client, { ...call(host), start: 0, end: 999, size: 1000 })

describe('trying again', () => {
  it.each([
    ['429 with a short Retry-After', [[429, { 'retry-after': '2' }]], [2000]],
    ['503, backing off', [[503], [503], [503], [503]], [187.5, 375, 750, 1500]],
    ['500 twice', [[500], [502]], [187.5, 375]],
    ['a mix', [[500], [429], [504]], [187.5, 187.5, 375]],
  ] satisfies [string, [number, Record<string, string>?][], number[]][])('%s', async (_what, refusals, waits) => {
    const server = await after(...refusals)
    const client = clientOf(server)
    expect((await fetch(client, server.host)).bytes.equals(BLOB.bytes)).toBe(true)
    expect(client.waits).toEqual(waits)
    expect(server.requests).toHaveLength(refusals.length + 1)
  })

  it.each([
    ['500 three times', [[500], [500], [500]], { code: 'UNAVAILABLE', data: { status: 500 } }],
    ['429 five times', [[429], [429], [429], [429], [429]], { code: 'RATE_LIMITED' }],
    [
      '429 for longer than a client waits',
      [[429, { 'retry-after': '5' }]],
      { code: 'RATE_LIMITED', retryAfterMs: 5000 },
    ],
    ['503 for longer than that', [[503, { 'retry-after': '5' }]], { code: 'UNAVAILABLE', retryAfterMs: 5000 }],
  ] satisfies [string, [number, Record<string, string>?][], object][])(
    'ends with %s',
    async (_what, refusals, expected) => {
      const server = await after(...refusals)
      await expect(fetch(clientOf(server), server.host)).rejects.toMatchObject(expected)
      expect(server.requests).toHaveLength(refusals.length)
    },
  )

  it('connections that break before the answer', async () => {
    const server = await serve((request, response) => {
      if (server.requests.length < 3) request.socket.destroy()
      else sendBlob(request, response, BLOB.bytes)
    })
    const client = clientOf(server)
    const { bytes } = await collect(client, { ...call(server.host), start: 0, end: 999, size: 1000 })
    expect(bytes.equals(BLOB.bytes)).toBe(true)
    expect(client.waits).toEqual([187.5, 375])
  })

  it('an origin that is not there is UNAVAILABLE after two retries', async () => {
    const placeholder = createServer()
    await new Promise<void>((resolve) => placeholder.listen(0, '127.0.0.1', resolve))
    const address = placeholder.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    await new Promise((resolve) => placeholder.close(resolve))
    const client = clientFor({ gone: { url: `http://127.0.0.1:${port}` } })
    await expect(client.headBlob(call('gone'))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    })
    expect(client.waits).toHaveLength(2)
  })

  it("stops waiting when the caller's signal aborts", async () => {
    const server = await after([429, { 'retry-after': '2' }])
    const abort = new AbortController()
    const sleep = async () => abort.abort()
    const client = clientOf(server, { retry: { random: Math.random, sleep } })
    await expect(client.headBlob({ ...call(server.host), signal: abort.signal })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    expect(server.requests).toHaveLength(1)
  })

  it('a small answer that only trickles is STALLED at the total deadline', async () => {
    const server = await serve((_request, response) => {
      response.writeHead(200)
      const drip = setInterval(() => response.write(' '), 20)
      response.on('close', () => clearInterval(drip))
    })
    const client = clientOf(server, { limits: { totalTimeoutMs: 150 } })
    await expect(client.getManifest({ ...call(server.host), reference: 'latest' })).rejects.toMatchObject({
      code: 'STALLED',
    })
  })

  it('is one pool of connections per host, kept alive', async () => {
    const sockets = new Set<unknown>()
    const server = await serve((request, response) => {
      sockets.add(request.socket)
      sendBlob(request, response, BLOB.bytes)
    })
    const client = clientOf(server, { limits: { connections: 3 } })
    const fetches = Array.from({ length: 30 }, (_, i) =>
      collect(client, { ...call(server.host), start: i, end: 900 + i, size: 1000 }),
    )
    await Promise.all(fetches)
    expect(server.requests).toHaveLength(30)
    expect(sockets.size).toBeLessThanOrEqual(3)
  })

  it('is counted', async () => {
    const registry = new Registry()
    const server = await after([404], [404])
    const client = clientOf(server, { metrics: createOriginMetrics(registry) })
    await client.headBlob(call(server.host)).catch(() => {})
    await collect(client, { ...call(server.host), start: 100, end: 299, size: 1000 })
    const text = await registry.metrics()
    expect(text).toContain('shoal_origin_requests_total{operation="blob_head",outcome="not_found"} 1')
    expect(text).toContain('shoal_origin_requests_total{operation="blob",outcome="ok"} 1')
    expect(text).toContain('shoal_origin_received_bytes_total 202')
    expect(text).toContain('shoal_origin_request_seconds_count{operation="blob"} 1')
  })
})
