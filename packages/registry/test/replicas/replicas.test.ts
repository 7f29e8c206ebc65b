import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { digestOf } from '@shoal/core'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { collect, raceCollections } from '../gc-races.ts'
import { areInstalled, requireTool } from '../interop/tool.ts'
import {
  ask,
  beginUpload,
  content,
  errorOf,
  metric,
  pushBlob,
  pushImageBlobs,
  pushManifest,
  type RunningRegistry,
  startRegistry,
  temporaryFolder,
} from '../running-registry.ts'
import { type Azurite, startAzurite } from '../stores/azurite.ts'
import { type RedisServer, startRedis } from './redis-server.ts'

const SECONDS = Number(process.env.SHOAL_GC_SECONDS ?? 10)
const PASSWORD = 'between replicas'

describe.runIf(areInstalled(['redis-server']))('replicas of a registry', () => {
  let azurite: Azurite
  let redis: RedisServer
  let folder: string
  let running: RunningRegistry[] = []
  beforeAll(async () => {
    folder = await temporaryFolder()
    await writeFile(join(folder, 'redis'), `${PASSWORD}\n`)
    azurite = await startAzurite()
    await writeFile(join(folder, 'azure'), azurite.accountKey)
    redis = await startRedis(requireTool('redis-server', { skip: () => expect.unreachable() }), PASSWORD)
  }, 60_000)
  afterAll(async () => {
    await redis.stop()
    await azurite.stop()
    await rm(folder, { recursive: true })
  })
  afterEach(async () => {
    for (const each of running.splice(0)) await each.dispose()
  })

  /** Two registries that share a container of their own. */
  async function start(values: Record<string, unknown> = {}) {
    const container = await azurite.newContainer()
    const { containerName, accountName } = container
    const { endpoint } = azurite
    const options = {
      storage: {
        driver: 'azure',
        azure: { container: containerName, accountName, endpoint, accountKeyFile: join(folder, 'azure') },
      },
      replicas: {
        redis: { url: redis.url, passwordFile: join(folder, 'redis'), keyPrefix: `${containerName}:` },
      },
      ...values,
    }
    const [one, two] = [await startRegistry(options), await startRegistry(options)]
    running = [one, two]
    const storedBytes = async () => {
      let sum = 0
      for await (const { name, properties } of container.listBlobsFlat({ prefix: 'docker/registry/v2/blobs/' })) {
        if (name.endsWith('/data')) sum += properties.contentLength ?? 0
      }
      return sum
    }
    return { one, two, storedBytes }
  }

  const tags = async ({ url }: RunningRegistry) => {
    const { bytes } = await ask(`${url}/v2/app/tags/list`)
    return (JSON.parse(bytes.toString()) as { tags?: string[] }).tags
  }
  const names = async ({ url }: RunningRegistry) =>
    (JSON.parse((await ask(`${url}/v2/_catalog`)).bytes.toString()) as { repositories: string[] }).repositories

  it('continue an upload that another one began', async () => {
    const { one, two } = await start()
    const bytes = content('layer', 300_000)
    const begun = new URL(await beginUpload(one.url, 'app'))
    for (const [at, { url }] of [one, two, one].entries()) {
      const chunk = bytes.subarray(at * 100_000, (at + 1) * 100_000)
      const range = `${at * 100_000}-${(at + 1) * 100_000 - 1}`
      const answer = await ask(new URL(begun.pathname + begun.search, url).href, {
        method: 'PATCH',
        headers: { 'content-range': range, 'content-type': 'application/octet-stream' },
        body: chunk,
      })
      expect(answer.status).toBe(202)
    }
    const end = new URL(begun.pathname + begun.search, two.url)
    end.searchParams.set('digest', digestOf(bytes))
    expect((await ask(end.href, { method: 'PUT' })).status).toBe(201)
    expect((await ask(`${one.url}/v2/app/blobs/${digestOf(bytes)}`)).bytes.equals(bytes)).toBe(true)
  })

  it('refuse a second writer to an upload, whichever it asks', async () => {
    const { one, two } = await start()
    const begun = new URL(await beginUpload(one.url, 'app'))
    const gate = Promise.withResolvers<void>()
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(content('first', 1000))
        await gate.promise
        controller.close()
      },
    })
    const first = ask(begun.href, { method: 'PATCH', body })
    const other = new URL(begun.pathname + begun.search, two.url).href
    const answer = await vi.waitFor(async () => {
      const second = await ask(other, { method: 'PATCH', body: content('second', 1) })
      expect(second.status).not.toBe(202)
      return second
    })
    expect(errorOf(answer).message).toContain('another request is writing')
    gate.resolve()
    expect((await first).status).toBe(202)
  })

  it('list what any of them was sent, at once, and by their indexes', { timeout: 60_000 }, async () => {
    const { one, two } = await start()
    const image = await pushImageBlobs(one.url, 'app', 'app')
    const expected: string[] = []
    for (let i = 0; i < 10; i++) {
      const [to, from] = i % 2 === 0 ? [one, two] : [two, one]
      const tag = `v${i}`
      const { answer } = await pushManifest(to.url, 'app', tag, image)
      expect(answer.status).toBe(201)
      expected.push(tag)
      expect(await tags(from)).toEqual(expected)
      expect(await tags(to)).toEqual(expected)
      await pushImageBlobs(to.url, `lib/${i}`, 'lib')
      expect(await names(from)).toEqual(['app', ...Array.from({ length: i + 1 }, (_, at) => `lib/${at}`)])
    }
    expect((await ask(`${one.url}/v2/app/manifests/v3`, { method: 'DELETE' })).status).toBe(202)
    expect(await tags(two)).not.toContain('v3')
    const fromIndex = () => metric(two.metricsUrl, 'shoal_registry_lists_total{of="tags",from="index"}')
    await vi.waitFor(async () => {
      const before = (await fromIndex()) || 0
      expect(await tags(two)).not.toContain('v3')
      expect(await fromIndex()).toBe(before + 1)
    })
  })

  it('take no changes from anybody when one is told so', async () => {
    const { one, two } = await start()
    const set = (readOnly: boolean) =>
      ask(`${one.metricsUrl}/api/v1/read-only`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ readOnly }),
      })
    const post = async () => (await ask(`${two.url}/v2/app/blobs/uploads/`, { method: 'POST' })).status
    expect((await set(true)).status).toBe(200)
    await vi.waitFor(async () => expect(await post()).toBe(405), { timeout: 5000 })
    expect((await set(false)).status).toBe(200)
    await vi.waitFor(async () => expect(await post()).toBe(202), { timeout: 5000 })
  })

  it('collect one at a time', async () => {
    const { one, two } = await start()
    for (let i = 0; i < 5; i++) await pushBlob(one.url, `app${i}`, content(`blob ${i}`, 10))
    const begin = ({ metricsUrl }: RunningRegistry) => ask(`${metricsUrl}/api/v1/gc?dryRun=true`, { method: 'POST' })
    const answers = await Promise.all([begin(one), begin(two)])
    expect(answers.map(({ status }) => status).sort()).toEqual([202, 409])
    expect((await collect(two, '?dryRun=true')).state).toBe('done')
  })

  it('keep an image that clients of another one pull', { timeout: 60_000 }, async () => {
    const retention = {
      policies: [{ repositories: ['**'], keepTags: [{ pulledWithinHours: 1000, mostRecentlyPushedCount: 1 }] }],
    }
    const { one, two } = await start({ gc: { everyHours: 0, graceHours: 1e-7 }, retention })
    for (const tag of ['pulled', 'forgotten', 'last']) {
      // The store tells to the second when something was stored: it must be after the start, and in this order.
      await setTimeout(1000)
      await pushManifest(one.url, 'app', tag, await pushImageBlobs(one.url, 'app', tag))
    }
    expect((await ask(`${one.url}/v2/app/manifests/pulled`)).status).toBe(200)
    // What was pulled is written from time to time, and at the end.
    await one.stop()
    expect((await collect(two)).state).toBe('done')
    expect(await tags(two)).toEqual(['last', 'pulled'])
  })

  it('answer pulls without Redis, and take changes again when it is back', { timeout: 60_000 }, async () => {
    const { one, two } = await start()
    const image = await pushImageBlobs(one.url, 'app', 'app')
    const { bytes } = await pushManifest(one.url, 'app', 'v1', image)
    expect(await metric(two.metricsUrl, 'shoal_registry_replicas_connected')).toBe(1)
    await redis.stop()
    await vi.waitFor(async () => expect(await metric(two.metricsUrl, 'shoal_registry_replicas_connected')).toBe(0), {
      timeout: 10_000,
    })
    expect((await ask(`${two.url}/v2/app/manifests/v1`)).bytes.equals(bytes)).toBe(true)
    expect(await tags(two)).toEqual(['v1'])
    const refused = await pushManifest(two.url, 'app', 'v2', image)
    expect(errorOf(refused.answer).code).toBe('503 UNAVAILABLE')
    expect((await ask(`${two.metricsUrl}/api/v1/gc`, { method: 'POST' })).status).toBe(503)

    await redis.start()
    await vi.waitFor(async () => expect((await pushManifest(two.url, 'app', 'v2', image)).answer.status).toBe(201), {
      timeout: 15_000,
    })
    // Nobody knows any more what clients asked for before: it counts as asked for just now.
    await pushBlob(one.url, 'app', content('unnamed', 10))
    expect(await collect(one)).toMatchObject({ state: 'done', removedBlobs: 0 })
    expect(await tags(one)).toEqual(['v1', 'v2'])
  })

  it('answer pulls while Redis hangs, and do not wait for it each time', { timeout: 60_000 }, async () => {
    const { one } = await start()
    const image = await pushImageBlobs(one.url, 'app', 'app')
    await pushManifest(one.url, 'app', 'v1', image)
    redis.signal('SIGSTOP')
    try {
      const beganMs = performance.now()
      for (let i = 0; i < 5; i++) expect((await ask(`${one.url}/v2/app/manifests/v1`)).status).toBe(200)
      expect((await pushManifest(one.url, 'app', 'v2', image)).answer.status).toBe(503)
      expect(performance.now() - beganMs).toBeLessThan(6000)
      expect(await metric(one.metricsUrl, 'shoal_registry_replicas_connected')).toBe(0)
    } finally {
      redis.signal('SIGCONT')
    }
    await vi.waitFor(async () => expect((await pushManifest(one.url, 'app', 'v2', image)).answer.status).toBe(201), {
      timeout: 20_000,
      interval: 200,
    })
  })

  it('pass on what other registries have without Redis, and keep it when it is back', { timeout: 60_000 }, async () => {
    const upstream = await startRegistry()
    const { one, two } = await start({ proxy: { upstreams: { 'up.example': { url: upstream.url, prefix: 'up' } } } })
    running.push(upstream)
    const image = await pushImageBlobs(upstream.url, 'app', 'upstream')
    await pushManifest(upstream.url, 'app', 'v1', image)
    const { digest } = image.config as { digest: string }
    const pull = async ({ url }: RunningRegistry, path: string) => (await ask(`${url}/v2/up/app/${path}`)).status
    expect(await pull(one, 'manifests/v1')).toBe(200)
    await redis.stop()
    await vi.waitFor(async () => expect(await metric(two.metricsUrl, 'shoal_registry_replicas_connected')).toBe(0), {
      timeout: 10_000,
    })
    expect(await pull(two, 'manifests/v1')).toBe(200)
    expect(await pull(two, `blobs/${digest}`)).toBe(200)
    await pushManifest(upstream.url, 'app', 'v2', image)
    expect(await pull(two, 'manifests/v2')).toBe(503)
    await redis.start()
    await vi.waitFor(async () => expect(await metric(two.metricsUrl, 'shoal_registry_replicas_connected')).toBe(1), {
      timeout: 10_000,
    })
    expect(await pull(two, `blobs/${digest}`)).toBe(200)
    await upstream.stop()
    await vi.waitFor(async () => expect(await pull(one, `blobs/${digest}`)).toBe(200), { timeout: 10_000 })
  })

  it(
    `lose nothing that was confirmed and not deleted, for ${SECONDS} s of pushes, mounts and deletions at once`,
    async () => {
      const { one, two, storedBytes } = await start({
        gc: { everyHours: 0, graceHours: 2 / 3600, untagged: 'remove' },
      })
      await raceCollections([one, two], { seconds: SECONDS, storedBytes })
    },
    SECONDS * 1000 + 60_000,
  )
})
