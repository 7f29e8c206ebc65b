import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf, MEDIA_TYPES } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  ask,
  content,
  descriptor,
  errorOf,
  metric,
  pushBlob,
  pushImageBlobs,
  pushManifest,
  type RunningRegistry,
  startRegistry,
} from '../running-registry.ts'
import { Gate } from './gate.ts'

const HUB = 'docker.io'
const APP = 'library/app'
const LOCAL = `${HUB}/${APP}`
const BIG = content('big', 3_000_000)

let upstream: RunningRegistry
let gate: Gate
const cleanups: (() => Promise<unknown>)[] = []
beforeEach(async () => {
  upstream = await startRegistry()
  gate = await Gate.before(upstream.url)
  cleanups.push(upstream.dispose, () => gate.close())
})
afterEach(async () => {
  gate.release()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** A registry that stands before the gate, which it takes for Docker Hub. */
async function startProxy(proxy: object = {}, more: Record<string, unknown> = {}): Promise<RunningRegistry> {
  const upstreams = { [HUB]: { url: gate.url } }
  const registry = await startRegistry({ proxy: { upstreams, limits: { progressTimeoutMs: 1000 }, ...proxy }, ...more })
  cleanups.push(registry.dispose)
  return registry
}

/** An image of the upstream; returns its manifest's digest and bytes, and the digest of its layer. */
async function pushImage(tag: string, seed = tag, repository = APP) {
  const manifest = await pushImageBlobs(upstream.url, repository, seed)
  const { digest, bytes } = await pushManifest(upstream.url, repository, tag, manifest)
  const [layer] = manifest.layers as { digest: string }[]
  return { digest, bytes, layer: layer?.digest ?? '', config: (manifest.config as { digest: string }).digest }
}

const filesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])

/** Waits until a blob is kept, as the upstream is not asked for it any more. */
async function kept(proxy: RunningRegistry, digest: string): Promise<void> {
  const hex = digest.slice('sha256:'.length)
  const path = join(proxy.dataDir, 'docker/registry/v2/repositories', LOCAL, '_layers/sha256', hex)
  while (!(await filesIn(path)).includes('link')) await new Promise((resolve) => setTimeout(resolve, 5))
}

const blobUrl = (proxy: RunningRegistry, digest: string) => `${proxy.url}/v2/${LOCAL}/blobs/${digest}`
const manifestUrl = (proxy: RunningRegistry, reference: string) => `${proxy.url}/v2/${LOCAL}/manifests/${reference}`

describe('a pull of an image that is another registry’s', () => {
  it('gets it from there once, and from here from then on, also when the other one is gone', async () => {
    const { digest, bytes, layer } = await pushImage('v1')
    const proxy = await startProxy()
    const first = await ask(manifestUrl(proxy, 'v1'))
    expect(first.bytes.equals(bytes)).toBe(true)
    expect(first.headers.get('docker-content-digest')).toBe(digest)
    expect(first.headers.get('oci-namespace')).toBe(HUB)
    expect(first.headers.get('warning')).toBeNull()
    expect((await ask(blobUrl(proxy, layer))).bytes.equals(content('v1 layer', 3000))).toBe(true)
    await kept(proxy, layer)
    const askedFor = gate.seen.length
    expect((await ask(manifestUrl(proxy, digest))).bytes.equals(bytes)).toBe(true)
    expect((await ask(blobUrl(proxy, layer))).status).toBe(200)
    expect(gate.seen.length).toBe(askedFor)
    await gate.close()
    const stale = await ask(manifestUrl(proxy, 'v1'))
    expect(stale.bytes.equals(bytes)).toBe(true)
    expect(stale.headers.get('warning')).toMatch(
      /^299 - "this is what is kept here and may be old: library\/app at docker.io/,
    )
    expect(await metric(proxy.metricsUrl, 'registry_proxy_pulled_bytes_total{type="blob"}')).toBe(3000)
    expect(await metric(proxy.metricsUrl, 'registry_proxy_hits_total{type="blob"}')).toBe(1)
    expect(await metric(proxy.metricsUrl, 'registry_proxy_misses_total{type="blob"}')).toBe(1)
  })

  it.each([
    ['the upstream as ns', `/v2/${APP}/`, `?ns=${HUB}`],
    ['the upstream as ns, in capitals', `/v2/${APP}/`, '?ns=Docker.IO'],
    ['an official image of Docker Hub by its short name', `/v2/${HUB}/app/`, ''],
    ['no upstream where one is the default', `/v2/${APP}/`, ''],
  ])('may name %s', async (_, path, query) => {
    const { bytes, layer } = await pushImage('v1')
    const proxy = await startProxy({ default: HUB })
    expect((await ask(`${proxy.url}${path}manifests/v1${query}`)).bytes.equals(bytes)).toBe(true)
    expect((await ask(`${proxy.url}${path}blobs/${layer}${query}`)).status).toBe(200)
    expect(gate.asked('GET', `/v2/${APP}/blobs/${layer}?ns=docker.io`)).toHaveLength(1)
    await kept(proxy, layer)
    expect((await ask(`${proxy.url}/v2/_catalog`)).bytes.toString()).toContain(LOCAL)
  })

  it('leaves our own repositories alone', async () => {
    const proxy = await startProxy({ default: HUB, names: ['own.example'] })
    const manifest = await pushImageBlobs(proxy.url, APP, 'ours')
    const { bytes } = await pushManifest(proxy.url, APP, 'v1', manifest)
    await pushImage('v1', 'theirs')
    for (const query of ['', '?ns=own.example', `?ns=${new URL(proxy.url).host}`]) {
      expect((await ask(`${proxy.url}/v2/${APP}/manifests/v1${query}`)).bytes.equals(bytes)).toBe(true)
    }
    const other = await ask(`${proxy.url}/v2/${APP}/manifests/v1?ns=ghcr.io`)
    expect(errorOf(other).code).toBe('404 NAME_UNKNOWN')
    expect(errorOf(other).message).toContain('proxy.upstreams')
    expect(gate.seen).toEqual([])
  })

  it('can not be a push', async () => {
    const proxy = await startProxy()
    const pushed = [
      ask(`${proxy.url}/v2/${LOCAL}/blobs/uploads/`, { method: 'POST' }),
      ask(`${proxy.url}/v2/${APP}/blobs/uploads/?ns=${HUB}`, { method: 'POST' }),
      ask(manifestUrl(proxy, 'v1'), { method: 'PUT', body: '{}' }),
    ]
    for (const answer of await Promise.all(pushed)) {
      expect(errorOf(answer)).toMatchObject({
        code: '403 DENIED',
        message: expect.stringContaining('push to docker.io/library/app'),
      })
    }
  })

  it('answers HEAD with what the upstream says, and fetches nothing for it', async () => {
    const digest = await pushBlob(upstream.url, APP, BIG)
    const proxy = await startProxy()
    const answer = await ask(blobUrl(proxy, digest), { method: 'HEAD' })
    expect(answer.headers.get('content-length')).toBe(String(BIG.byteLength))
    expect(gate.asked('GET', '/blobs/')).toEqual([])
  })

  it.each([
    ['manifests/none', '404 MANIFEST_UNKNOWN'],
    [`manifests/${digestOf('none')}`, '404 MANIFEST_UNKNOWN'],
    [`blobs/${digestOf('none')}`, '404 BLOB_UNKNOWN'],
  ])('is told when the upstream has no %s', async (path, code) => {
    const proxy = await startProxy()
    expect(errorOf(await ask(`${proxy.url}/v2/${LOCAL}/${path}`)).code).toBe(code)
  })

  it.each([
    [401, '404'],
    [403, '403 DENIED'],
    [429, '429 TOOMANYREQUESTS'],
    [500, '503 UNAVAILABLE'],
  ])(
    'is told when the upstream answers %d',
    async (status, code) => {
      const proxy = await startProxy()
      gate.trouble.status = status
      const answers = [ask(manifestUrl(proxy, 'v1')), ask(blobUrl(proxy, digestOf('some')))]
      for (const answer of await Promise.all(answers)) {
        expect(errorOf(answer).code).toContain(code)
        expect(answer.headers.get('www-authenticate')).toBeNull()
      }
    },
    30_000,
  )
})

describe('a blob on its way', () => {
  it('is read while it comes, at the fill’s pace, by all who want it', async () => {
    const digest = await pushBlob(upstream.url, APP, BIG)
    const proxy = await startProxy()
    gate.trouble.holdAfterBytes = 1_000_000
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
    expect(gate.asked('GET', '/blobs/')).toHaveLength(1)
    gate.release()
    for (const { reader, chunks } of bodies) {
      for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value)
      expect(Buffer.concat(chunks).equals(BIG)).toBe(true)
    }
    await kept(proxy, digest)
    expect(gate.asked('GET', '/blobs/')).toHaveLength(1)
    expect(gate.asked('HEAD', '/blobs/')).toHaveLength(1)
  })

  it('is given in parts too; one that is far ahead of the fill is asked for apart', async () => {
    const digest = await pushBlob(upstream.url, APP, BIG)
    const proxy = await startProxy({ limits: { progressTimeoutMs: 60_000 } })
    gate.trouble.holdAfterBytes = 1_000_000
    const part = async (range: string) => (await ask(blobUrl(proxy, digest), { headers: { range } })).bytes
    expect((await part('bytes=100000-199999')).equals(BIG.subarray(100_000, 200_000))).toBe(true)
    const [ahead, end] = await Promise.all([part('bytes=2900000-2900099'), part('bytes=-10')])
    expect(ahead.equals(BIG.subarray(2_900_000, 2_900_100))).toBe(true)
    expect(end.equals(BIG.subarray(-10))).toBe(true)
    expect(gate.asked('GET', '/blobs/')).toHaveLength(3)
    gate.release()
    await kept(proxy, digest)
  }, 30_000)

  it('comes to its end and is kept when everybody has left', async () => {
    const digest = await pushBlob(upstream.url, APP, BIG)
    const proxy = await startProxy()
    gate.trouble.holdAfterBytes = 1_000_000
    const abort = new AbortController()
    const { body } = await fetch(blobUrl(proxy, digest), { signal: abort.signal })
    await body?.getReader().read()
    abort.abort()
    gate.release()
    await kept(proxy, digest)
    await gate.close()
    expect((await ask(blobUrl(proxy, digest))).bytes.equals(BIG)).toBe(true)
  })

  it('goes on where the upstream broke off', async () => {
    const digest = await pushBlob(upstream.url, APP, BIG)
    const proxy = await startProxy()
    Object.assign(gate.trouble, { cutAfterBytes: 300_000, cuts: 6 })
    expect((await ask(blobUrl(proxy, digest))).bytes.equals(BIG)).toBe(true)
    expect(gate.trouble.cuts).toBe(0)
    await kept(proxy, digest)
    expect(await metric(proxy.metricsUrl, 'registry_proxy_pulled_bytes_total{type="blob"}')).toBe(BIG.byteLength)
  }, 30_000)

  it('is never given whole, nor kept, when its bytes are not those of its digest', async () => {
    const digest = await pushBlob(upstream.url, APP, BIG)
    const proxy = await startProxy()
    gate.trouble.corrupts = true
    await expect(ask(blobUrl(proxy, digest))).rejects.toThrow()
    gate.trouble.corrupts = false
    expect((await ask(blobUrl(proxy, digest))).bytes.equals(BIG)).toBe(true)
    await kept(proxy, digest)
    expect(await filesIn(join(proxy.dataDir, 'proxy'))).toEqual([])
  })

  it('is fetched once for all repositories that share it, each of which must have it', async () => {
    for (const repository of [APP, 'library/other']) await pushBlob(upstream.url, repository, BIG)
    const digest = digestOf(BIG)
    const proxy = await startProxy()
    const other = blobUrl(proxy, digest).replace(APP, 'library/other')
    gate.trouble.holdAfterBytes = 1_000_000
    const both = [ask(blobUrl(proxy, digest)), ask(other)]
    while (gate.asked('HEAD', '/blobs/').length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    gate.release()
    for (const { bytes } of await Promise.all(both)) expect(bytes.equals(BIG)).toBe(true)
    await kept(proxy, digest)
    await pushBlob(upstream.url, 'library/third', BIG)
    expect((await ask(blobUrl(proxy, digest).replace(APP, 'library/third'))).bytes.equals(BIG)).toBe(true)
    expect(gate.asked('GET', '/blobs/')).toHaveLength(1)
    const fourth = await ask(blobUrl(proxy, digest).replace(APP, 'library/fourth'))
    expect(errorOf(fourth).code).toBe('404 BLOB_UNKNOWN')
  })

  it('may be empty, or named by its sha512', async () => {
    const empty = await pushBlob(upstream.url, APP, Buffer.alloc(0))
    const bytes = content('sha512', 100_000)
    const digest = digestOf(bytes, 'sha512')
    const upload = await ask(`${upstream.url}/v2/${APP}/blobs/uploads/?digest=${digest}`, {
      method: 'POST',
      body: bytes,
    })
    expect(upload.status).toBe(201)
    const proxy = await startProxy()
    for (let time = 0; time < 2; time++) {
      expect((await ask(blobUrl(proxy, empty))).bytes.byteLength).toBe(0)
      expect((await ask(blobUrl(proxy, digest))).bytes.equals(bytes)).toBe(true)
      await kept(proxy, digestOf(bytes))
    }
    expect(gate.asked('GET', 'sha512')).toHaveLength(1)
  })

  it('is kept in an object store too', async () => {
    const { layer, digest } = await pushImage('v1')
    const proxy = await startProxy({}, { storage: { driver: 'memory' } })
    expect((await ask(manifestUrl(proxy, 'v1'))).status).toBe(200)
    for (let time = 0; time < 2; time++) {
      expect((await ask(blobUrl(proxy, layer))).bytes.equals(content('v1 layer', 3000))).toBe(true)
      while ((await filesIn(join(proxy.dataDir, 'proxy'))).length > 0) {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    expect(gate.asked('GET', '/blobs/')).toHaveLength(1)
    expect((await ask(manifestUrl(proxy, digest))).status).toBe(200)
  })

  it('that an earlier process left half is gone at the next start', async () => {
    const digest = await pushBlob(upstream.url, APP, BIG)
    const proxy = await startProxy()
    gate.trouble.holdAfterBytes = 1_000_000
    const { body } = await fetch(blobUrl(proxy, digest))
    const reader = (body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    await Promise.all([proxy.stop(), reader.cancel().catch(() => {})])
    gate.release()
    gate.trouble.holdAfterBytes = undefined
    const again = await startProxy({}, { dataDir: proxy.dataDir })
    expect(await filesIn(join(proxy.dataDir, 'proxy'))).toEqual([])
    expect((await ask(blobUrl(again, digest))).bytes.equals(BIG)).toBe(true)
  }, 30_000)
})

describe('a tag of an upstream', () => {
  it('is asked for each time, with one question for all who ask meanwhile', async () => {
    await pushImage('v1')
    const proxy = await startProxy()
    await ask(manifestUrl(proxy, 'v1'))
    const before = gate.asked('HEAD', '/manifests/').length
    await Promise.all(Array.from({ length: 20 }, () => ask(manifestUrl(proxy, 'v1'))))
    expect(gate.asked('HEAD', '/manifests/').length - before).toBeLessThan(20)
    expect(gate.asked('GET', '/manifests/')).toHaveLength(1)
    const moved = await pushImage('v1', 'moved')
    expect((await ask(manifestUrl(proxy, 'v1'))).bytes.equals(moved.bytes)).toBe(true)
    await ask(`${upstream.url}/v2/${APP}/manifests/v1`, { method: 'DELETE' })
    expect(errorOf(await ask(manifestUrl(proxy, 'v1'))).code).toBe('404 MANIFEST_UNKNOWN')
    await gate.close()
    expect((await ask(manifestUrl(proxy, 'v1'))).status).toBe(503)
  })

  it('holds for tagSeconds', async () => {
    const { bytes } = await pushImage('v1')
    const proxy = await startProxy({ tagSeconds: 3600 })
    await ask(manifestUrl(proxy, 'v1'))
    await pushImage('v1', 'moved')
    const asked = gate.seen.length
    expect((await ask(manifestUrl(proxy, 'v1'))).bytes.equals(bytes)).toBe(true)
    expect(gate.seen.length).toBe(asked)
  })

  it('is answered at once for a while after its upstream could not be asked', async () => {
    const { bytes } = await pushImage('v1')
    const proxy = await startProxy()
    await ask(manifestUrl(proxy, 'v1'))
    gate.trouble.status = 503
    await ask(manifestUrl(proxy, 'v1'))
    const asked = gate.seen.length
    const answer = await ask(manifestUrl(proxy, 'v1'))
    expect(answer.bytes.equals(bytes)).toBe(true)
    expect(answer.headers.get('warning')).toContain('503')
    expect(gate.seen.length).toBe(asked)
  }, 30_000)
})

describe('lists', () => {
  it('are the upstream’s, page by page, and ours while it can not be asked', async () => {
    for (const tag of ['a', 'b', 'c']) await pushImage(tag)
    const proxy = await startProxy()
    await ask(manifestUrl(proxy, 'b'))
    const page = async (query: string) => {
      const { bytes, headers } = await ask(`${proxy.url}${query}`)
      const next = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1]
      return {
        ...(JSON.parse(bytes.toString()) as { name: string; tags: string[] }),
        next,
        warning: headers.get('warning'),
      }
    }
    const first = await page(`/v2/${LOCAL}/tags/list?n=2`)
    expect(first).toMatchObject({ name: LOCAL, tags: ['a', 'b'], warning: null })
    expect(await page(first.next ?? '')).toMatchObject({ tags: ['c'], next: undefined })
    await gate.close()
    expect(await page(`/v2/${LOCAL}/tags/list`)).toMatchObject({ tags: ['b'], warning: expect.stringContaining('299') })
    const unknown = await ask(`${proxy.url}/v2/${HUB}/library/never/tags/list`)
    expect(errorOf(unknown).code).toBe('404 NAME_UNKNOWN')
  })

  it('of referrers are too', async () => {
    const image = await pushImage('v1')
    const subject = { mediaType: MEDIA_TYPES.ociManifest, digest: image.digest, size: image.bytes.byteLength }
    for (const artifactType of ['example/sbom', 'example/signature']) {
      const config = Buffer.from('{}')
      await pushBlob(upstream.url, APP, config)
      const empty = descriptor(MEDIA_TYPES.ociEmpty, config)
      const manifest = {
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociManifest,
        artifactType,
        config: empty,
        layers: [empty],
        subject,
      }
      const { digest } = await pushManifest(upstream.url, APP, digestOf(JSON.stringify(manifest)), manifest)
      expect(digest).toContain('sha256:')
    }
    const proxy = await startProxy()
    const list = async (query = '') => {
      const { bytes, headers } = await ask(`${proxy.url}/v2/${LOCAL}/referrers/${image.digest}${query}`)
      const { manifests } = JSON.parse(bytes.toString()) as { manifests: { artifactType: string }[] }
      return { types: manifests.map(({ artifactType }) => artifactType).sort(), headers }
    }
    expect((await list()).types).toEqual(['example/sbom', 'example/signature'])
    const filtered = await list('?artifactType=example/sbom')
    expect(filtered.types).toEqual(['example/sbom'])
    expect(filtered.headers.get('oci-filters-applied')).toBe('artifactType')
    await gate.close()
    expect((await list()).types).toEqual([])
  })
})

it('in read-only mode gives what it has, and blobs straight from their upstream', async () => {
  const { bytes, layer } = await pushImage('v1')
  const proxy = await startProxy()
  await ask(manifestUrl(proxy, 'v1'))
  await pushImage('v2')
  const set = await fetch(`${proxy.metricsUrl}/api/v1/read-only`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: '{"readOnly":true}',
  })
  expect(set.status).toBe(200)
  const stale = await ask(manifestUrl(proxy, 'v1'))
  expect(stale.bytes.equals(bytes)).toBe(true)
  expect(stale.headers.get('warning')).toContain('no changes')
  expect(errorOf(await ask(manifestUrl(proxy, 'v2'))).code).toBe('503 UNAVAILABLE')
  for (let time = 0; time < 2; time++) {
    expect((await ask(blobUrl(proxy, layer))).bytes.equals(content('v1 layer', 3000))).toBe(true)
  }
  expect(gate.asked('GET', '/blobs/')).toHaveLength(2)
})

it('nodes of ours name the registry that they mean, and so may stand behind it', async () => {
  const { bytes } = await pushImage('v1')
  const near = await startProxy()
  const far = await startRegistry({ proxy: { upstreams: { [HUB]: { url: near.url } } } })
  cleanups.push(far.dispose)
  expect((await ask(manifestUrl(far, 'v1'))).bytes.equals(bytes)).toBe(true)
})

describe('what nobody pulled for keepHours', () => {
  const collect = async (proxy: RunningRegistry) => {
    await fetch(`${proxy.metricsUrl}/api/v1/gc`, { method: 'POST' })
    for (;;) {
      const { last } = (await (await fetch(`${proxy.metricsUrl}/api/v1/gc`)).json()) as { last: { state: string } }
      if (last.state !== 'running') return last
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  const HOUR_MS = 3_600_000

  it('goes by garbage collection; what another image needs stays, and so does our own', async () => {
    // The same layer in both images.
    const shared = content('shared', 4000)
    const images: string[] = []
    for (const repository of [APP, 'library/other']) {
      await pushBlob(upstream.url, repository, shared)
      const manifest = await pushImageBlobs(upstream.url, repository, repository)
      const layers = [...(manifest.layers as object[]), descriptor('application/vnd.oci.image.layer.v1.tar', shared)]
      images.push((await pushManifest(upstream.url, repository, 'v1', { ...manifest, layers })).digest)
    }
    const keepHours = 400 / HOUR_MS
    const proxy = await startProxy({ keepHours }, { gc: { graceHours: 1e-6 } })
    await pushManifest(proxy.url, 'own', 'v1', await pushImageBlobs(proxy.url, 'own', 'own'))
    const pull = async (repository: string, digest: string) => {
      const base = `${proxy.url}/v2/${HUB}/${repository}`
      const { bytes } = await ask(`${base}/manifests/v1`)
      expect(digestOf(bytes)).toBe(digest)
      const { layers } = JSON.parse(bytes.toString()) as { layers: { digest: string }[] }
      for (const layer of layers) expect((await ask(`${base}/blobs/${layer.digest}`)).status).toBe(200)
    }
    await pull(APP, images[0] ?? '')
    await pull('library/other', images[1] ?? '')
    await kept(proxy, digestOf(shared))
    expect(await collect(proxy)).toMatchObject({ state: 'done', removedTags: 0, removedManifests: 0 })
    await new Promise((resolve) => setTimeout(resolve, 450))
    await ask(`${proxy.url}/v2/${HUB}/library/other/manifests/v1`, { method: 'HEAD' })
    expect(await collect(proxy)).toMatchObject({ state: 'done', removedTags: 1, removedManifests: 1 })
    await gate.close()
    await pull('library/other', images[1] ?? '')
    expect((await ask(manifestUrl(proxy, 'v1'))).status).toBe(503)
    expect((await ask(`${proxy.url}/v2/own/manifests/v1`)).status).toBe(200)
  }, 30_000)
})
