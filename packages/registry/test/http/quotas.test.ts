import { digestOf } from '@shoal/core'
import { afterEach, describe, expect, it } from 'vitest'
import {
  ask,
  beginUpload,
  content,
  errorOf,
  pushBlob,
  pushImageBlobs,
  pushManifest,
  type RunningRegistry,
  startRegistry,
} from '../running-registry.ts'

let registry: RunningRegistry | undefined
afterEach(() => registry?.dispose())

const GC = { everyHours: 0, graceHours: 1e-6, untagged: 'remove' }

async function start(quota: object): Promise<RunningRegistry> {
  registry = await startRegistry({ gc: GC, quotas: [{ repositories: ['small/**'], ...quota }] })
  return registry
}

async function put(url: string, bytes: Uint8Array) {
  const upload = new URL(await beginUpload(url, 'small/app'))
  upload.searchParams.set('digest', digestOf(bytes))
  return ask(upload.href, { method: 'PUT', body: bytes })
}

describe('a quota of bytes', () => {
  it('lets a repository be filled to the last byte, and no further', async () => {
    const { url } = await start({ maxBytes: 1000 })
    const held = content('a', 600)
    await pushBlob(url, 'small/app', held)
    const refused = await put(url, content('b', 401))
    expect(errorOf(refused).code).toBe('403 DENIED')
    expect(errorOf(refused).message).toContain('may hold 1000 bytes of blobs and holds 600')
    expect((await put(url, content('c', 400))).status).toBe(201)
    expect((await put(url, content('d', 1))).status).toBe(403)
    expect((await ask(`${url}/v2/small/app/blobs/${digestOf(held)}`)).status).toBe(200)
    await pushBlob(url, 'large/app', content('e', 100_000))
  })

  it('is for each repository, and counts what is mounted', async () => {
    const { url } = await start({ maxBytes: 1000 })
    const digest = await pushBlob(url, 'large/app', content('a', 700))
    const mount = (to: string) =>
      ask(`${url}/v2/${to}/blobs/uploads/?mount=${digest}&from=large/app`, { method: 'POST' })
    await pushBlob(url, 'small/app', content('b', 301))
    expect(errorOf(await mount('small/app')).code).toBe('403 DENIED')
    expect((await mount('small/other')).status).toBe(201)
  })

  it('ends an upload that brings more while it comes, and keeps nothing of it', async () => {
    const { url } = await start({ maxBytes: 1000 })
    const upload = await beginUpload(url, 'small/app')
    const patch = (bytes: Uint8Array) => ask(upload, { method: 'PATCH', body: bytes })
    expect((await patch(content('a', 900))).status).toBe(202)
    expect(errorOf(await patch(content('b', 101))).code).toBe('403 DENIED')
    expect((await ask(upload)).status).toBe(404)
  })

  it('knows after a restart, and does not count a blob twice', async () => {
    const first = await start({ maxBytes: 1000 })
    const bytes = content('a', 400)
    for (let i = 0; i < 3; i++) await pushBlob(first.url, 'small/app', bytes)
    await first.stop()
    registry = await startRegistry({ dataDir: first.dataDir, quotas: [{ repositories: ['small/*'], maxBytes: 1000 }] })
    await pushBlob(registry.url, 'small/app', bytes)
    expect((await put(registry.url, content('b', 601))).status).toBe(403)
    expect((await put(registry.url, content('c', 600))).status).toBe(201)
  })

  it('gives room again for what is deleted, and for what is collected', async () => {
    const { url, metricsUrl } = await start({ maxBytes: 1000 })
    const digest = await pushBlob(url, 'small/app', content('a', 1000))
    expect((await ask(`${url}/v2/small/app/blobs/${digest}`, { method: 'DELETE' })).status).toBe(202)
    await pushBlob(url, 'small/app', content('b', 1000))
    expect((await put(url, content('c', 1000))).status).toBe(403)
    expect((await ask(`${metricsUrl}/api/v1/gc`, { method: 'POST' })).status).toBe(202)
    await expect
      .poll(async () => JSON.parse((await ask(`${metricsUrl}/api/v1/gc`)).bytes.toString()).last.state)
      .toBe('done')
    expect((await put(url, content('c', 1000))).status).toBe(201)
  })

  it('holds when many push at once', async () => {
    const { url } = await start({ maxBytes: 1000 })
    const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => put(url, content(`blob ${i}`, 300))))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 201, 403, 403, 403, 403, 403])
  })
})

describe('a quota of tags', () => {
  it('refuses a new tag that is one too many, not a push to one that is there', async () => {
    const { url } = await start({ maxTags: 2 })
    const manifest = await pushImageBlobs(url, 'small/app', 'one')
    for (const tag of ['a', 'b']) expect((await pushManifest(url, 'small/app', tag, manifest)).answer.status).toBe(201)
    const { answer } = await pushManifest(url, 'small/app', 'c', manifest)
    expect(errorOf(answer).code).toBe('403 DENIED')
    expect(errorOf(answer).message).toContain('may have 2 tags and has 2')
    expect((await pushManifest(url, 'small/app', 'b', manifest)).answer.status).toBe(201)
    expect((await ask(`${url}/v2/small/app/manifests/a`, { method: 'DELETE' })).status).toBe(202)
    const { digest } = await pushManifest(url, 'small/app', 'b', manifest)
    const two = `${digest}?tag=c&tag=d`
    expect((await pushManifest(url, 'small/app', two, manifest)).answer.status).toBe(403)
    expect((await pushManifest(url, 'small/app', 'c', manifest)).answer.status).toBe(201)
  })
})
