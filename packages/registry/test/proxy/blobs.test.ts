import { join } from 'node:path'
import { digestOf } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ask, content, errorOf, metric, pushBlob } from '../running-registry.ts'
import { APP, BIG, blobUrl, filesIn, kept, manifestUrl, World } from './world.ts'

let world: World
beforeEach(async () => {
  world = await World.start()
})
afterEach(() => world.dispose())

describe('a blob on its way', () => {
  it('is read while it comes, at the fill’s pace, by all who want it', async () => {
    const digest = await pushBlob(world.upstream.url, APP, BIG)
    const proxy = await world.startProxy()
    world.gate.trouble.holdAfterBytes = 1_000_000
    const readers = await Promise.all(Array.from({ length: 20 }, () => fetch(blobUrl(proxy, digest))))
    const bodies = await Promise.all(
      readers.map(async ({ body }) => {
        const reader = (body as ReadableStream<Uint8Array>).getReader()
        const chunks: Uint8Array[] = []
        for (let bytes = 0; bytes < 900_000; bytes += chunks.at(-1)?.byteLength ?? 0) {
          chunks.push((await reader.read()).value ?? new Uint8Array())
        }
        return { reader, chunks }
      }),
    )
    expect(world.gate.asked('GET', '/blobs/')).toHaveLength(1)
    world.gate.release()
    for (const { reader, chunks } of bodies) {
      for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value)
      expect(Buffer.concat(chunks).equals(BIG)).toBe(true)
    }
    await kept(proxy, digest)
    expect(world.gate.asked('GET', '/blobs/')).toHaveLength(1)
    expect(world.gate.asked('HEAD', '/blobs/')).toHaveLength(1)
  })

  it('is given in parts too; one that is far ahead of the fill is asked for apart', async () => {
    const digest = await pushBlob(world.upstream.url, APP, BIG)
    const proxy = await world.startProxy({ limits: { progressTimeoutMs: 60_000 } })
    world.gate.trouble.holdAfterBytes = 1_000_000
    const part = async (range: string) => (await ask(blobUrl(proxy, digest), { headers: { range } })).bytes
    expect((await part('bytes=100000-199999')).equals(BIG.subarray(100_000, 200_000))).toBe(true)
    const [ahead, end] = await Promise.all([part('bytes=2900000-2900099'), part('bytes=-10')])
    expect(ahead.equals(BIG.subarray(2_900_000, 2_900_100))).toBe(true)
    expect(end.equals(BIG.subarray(-10))).toBe(true)
    expect(world.gate.asked('GET', '/blobs/')).toHaveLength(3)
    world.gate.release()
    await kept(proxy, digest)
  }, 30_000)

  it('comes to its end and is kept when everybody has left', async () => {
    const digest = await pushBlob(world.upstream.url, APP, BIG)
    const proxy = await world.startProxy()
    world.gate.trouble.holdAfterBytes = 1_000_000
    const abort = new AbortController()
    const { body } = await fetch(blobUrl(proxy, digest), { signal: abort.signal })
    await body?.getReader().read()
    abort.abort()
    world.gate.release()
    await kept(proxy, digest)
    await world.gate.close()
    expect((await ask(blobUrl(proxy, digest))).bytes.equals(BIG)).toBe(true)
  })

  it('goes on where the upstream broke off', async () => {
    const digest = await pushBlob(world.upstream.url, APP, BIG)
    const proxy = await world.startProxy()
    Object.assign(world.gate.trouble, { cutAfterBytes: 300_000, cuts: 6 })
    expect((await ask(blobUrl(proxy, digest))).bytes.equals(BIG)).toBe(true)
    expect(world.gate.trouble.cuts).toBe(0)
    await kept(proxy, digest)
    expect(await metric(proxy.metricsUrl, 'registry_proxy_pulled_bytes_total{type="blob"}')).toBe(BIG.byteLength)
  }, 30_000)

  it('is never given whole, nor kept, when its bytes are not those of its digest', async () => {
    const digest = await pushBlob(world.upstream.url, APP, BIG)
    const proxy = await world.startProxy()
    world.gate.trouble.corrupts = true
    await expect(ask(blobUrl(proxy, digest))).rejects.toThrow()
    world.gate.trouble.corrupts = false
    expect((await ask(blobUrl(proxy, digest))).bytes.equals(BIG)).toBe(true)
    await kept(proxy, digest)
    expect(await filesIn(join(proxy.dataDir, 'proxy'))).toEqual([])
  })

  it('is fetched once for all repositories that share it, each of which must have it', async () => {
    for (const repository of [APP, 'library/other']) await pushBlob(world.upstream.url, repository, BIG)
    const digest = digestOf(BIG)
    const proxy = await world.startProxy()
    const other = blobUrl(proxy, digest).replace(APP, 'library/other')
    world.gate.trouble.holdAfterBytes = 1_000_000
    const both = [ask(blobUrl(proxy, digest)), ask(other)]
    while (world.gate.asked('HEAD', '/blobs/').length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    world.gate.release()
    for (const { bytes } of await Promise.all(both)) expect(bytes.equals(BIG)).toBe(true)
    await kept(proxy, digest)
    await pushBlob(world.upstream.url, 'library/third', BIG)
    expect((await ask(blobUrl(proxy, digest).replace(APP, 'library/third'))).bytes.equals(BIG)).toBe(true)
    expect(world.gate.asked('GET', '/blobs/')).toHaveLength(1)
    const fourth = await ask(blobUrl(proxy, digest).replace(APP, 'library/fourth'))
    expect(errorOf(fourth).code).toBe('404 BLOB_UNKNOWN')
  })

  it('may be empty, or named by its sha512', async () => {
    const empty = await pushBlob(world.upstream.url, APP, Buffer.alloc(0))
    const bytes = content('sha512', 100_000)
    const digest = digestOf(bytes, 'sha512')
    const upload = await ask(`${world.upstream.url}/v2/${APP}/blobs/uploads/?digest=${digest}`, {
      method: 'POST',
      body: bytes,
    })
    expect(upload.status).toBe(201)
    const proxy = await world.startProxy()
    for (let time = 0; time < 2; time++) {
      expect((await ask(blobUrl(proxy, empty))).bytes.byteLength).toBe(0)
      expect((await ask(blobUrl(proxy, digest))).bytes.equals(bytes)).toBe(true)
      await kept(proxy, digest)
    }
    expect(world.gate.asked('GET', 'sha512')).toHaveLength(1)
  })

  it('is kept in an object store too', async () => {
    const { layer, digest } = await world.pushImage('v1')
    const proxy = await world.startProxy({}, { storage: { driver: 'memory' } })
    expect((await ask(manifestUrl(proxy, 'v1'))).status).toBe(200)
    for (let time = 0; time < 2; time++) {
      expect((await ask(blobUrl(proxy, layer))).bytes.equals(content('v1 layer', 3000))).toBe(true)
      while ((await filesIn(join(proxy.dataDir, 'proxy'))).length > 0) {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    expect(world.gate.asked('GET', '/blobs/')).toHaveLength(1)
    expect((await ask(manifestUrl(proxy, digest))).status).toBe(200)
  })

  it('that an earlier process left half is gone at the next start', async () => {
    const digest = await pushBlob(world.upstream.url, APP, BIG)
    const proxy = await world.startProxy()
    world.gate.trouble.holdAfterBytes = 1_000_000
    const { body } = await fetch(blobUrl(proxy, digest))
    const reader = (body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    await Promise.all([proxy.stop(), reader.cancel().catch(() => {})])
    world.gate.release()
    world.gate.trouble.holdAfterBytes = undefined
    const again = await world.startProxy({}, { dataDir: proxy.dataDir })
    expect(await filesIn(join(proxy.dataDir, 'proxy'))).toEqual([])
    expect((await ask(blobUrl(again, digest))).bytes.equals(BIG)).toBe(true)
  }, 30_000)
})
