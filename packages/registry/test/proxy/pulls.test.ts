import { digestOf } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Upstreams, verifyStorage } from '../../src/index.ts'
import { FilesystemDriver } from '../../src/storage/filesystem.ts'
import {
  ask,
  content,
  errorOf,
  metric,
  pushBlob,
  pushImageBlobs,
  pushManifest,
  startRegistry,
} from '../running-registry.ts'
import { APP, BIG, blobUrl, HUB, kept, LOCAL, manifestUrl, World } from './world.ts'

let world: World
beforeEach(async () => {
  world = await World.start()
})
afterEach(() => world.dispose())

describe('a pull of an image that is another registry’s', () => {
  it('gets it from there once, and from here from then on, also when the other one is gone', async () => {
    const { digest, bytes, layer } = await world.pushImage('v1')
    const proxy = await world.startProxy()
    const first = await ask(manifestUrl(proxy, 'v1'))
    expect(first.bytes.equals(bytes)).toBe(true)
    expect(first.headers.get('docker-content-digest')).toBe(digest)
    expect(first.headers.get('oci-namespace')).toBe(HUB)
    expect(first.headers.get('warning')).toBeNull()
    expect((await ask(blobUrl(proxy, layer))).bytes.equals(content('v1 layer', 3000))).toBe(true)
    await kept(proxy, layer)
    const askedFor = world.gate.seen.length
    expect((await ask(manifestUrl(proxy, digest))).bytes.equals(bytes)).toBe(true)
    expect((await ask(blobUrl(proxy, layer))).status).toBe(200)
    expect(world.gate.seen.length).toBe(askedFor)
    await world.gate.close()
    const stale = await ask(manifestUrl(proxy, 'v1'))
    expect(stale.bytes.equals(bytes)).toBe(true)
    expect(stale.headers.get('warning')).toMatch(
      /^299 - "this is what is kept here and may be old: library\/app at docker.io/,
    )
    expect(await metric(proxy.metricsUrl, 'registry_proxy_pulled_bytes_total{type="blob"}')).toBe(3000)
    expect(await metric(proxy.metricsUrl, 'registry_proxy_hits_total{type="blob"}')).toBe(1)
    expect(await metric(proxy.metricsUrl, 'registry_proxy_pushed_bytes_total{type="blob"}')).toBe(6000)
    const manifests = 'registry_proxy_pushed_bytes_total{type="manifest"}'
    expect(await metric(proxy.metricsUrl, manifests)).toBe(3 * bytes.byteLength)
    expect(await metric(proxy.metricsUrl, 'registry_proxy_misses_total{type="blob"}')).toBe(1)
  })

  it.each([
    ['the upstream as ns', `/v2/${APP}/`, `?ns=${HUB}`],
    ['the upstream as ns, in capitals', `/v2/${APP}/`, '?ns=Docker.IO'],
    ['an official image of Docker Hub by its short name', `/v2/${HUB}/app/`, ''],
    ['no upstream where one is the default', `/v2/${APP}/`, ''],
  ])('may name %s', async (_, path, query) => {
    const { bytes, layer } = await world.pushImage('v1')
    const proxy = await world.startProxy({ default: HUB })
    expect((await ask(`${proxy.url}${path}manifests/v1${query}`)).bytes.equals(bytes)).toBe(true)
    expect((await ask(`${proxy.url}${path}blobs/${layer}${query}`)).status).toBe(200)
    expect(world.gate.asked('GET', `/v2/${APP}/blobs/${layer}?ns=docker.io`)).toHaveLength(1)
    await kept(proxy, layer)
    expect((await ask(`${proxy.url}/v2/_catalog`)).bytes.toString()).toContain(LOCAL)
  })

  it('leaves our own repositories alone', async () => {
    const proxy = await world.startProxy({ default: HUB, names: ['own.example'] })
    const manifest = await pushImageBlobs(proxy.url, APP, 'ours')
    const { bytes } = await pushManifest(proxy.url, APP, 'v1', manifest)
    await world.pushImage('v1', 'theirs')
    for (const query of ['', '?ns=own.example', `?ns=${new URL(proxy.url).host}`]) {
      expect((await ask(`${proxy.url}/v2/${APP}/manifests/v1${query}`)).bytes.equals(bytes)).toBe(true)
    }
    const other = await ask(`${proxy.url}/v2/${APP}/manifests/v1?ns=ghcr.io`)
    expect(errorOf(other).code).toBe('404 NAME_UNKNOWN')
    expect(errorOf(other).message).toContain('proxy.upstreams')
    expect(world.gate.seen).toEqual([])
    const several = await ask(`${proxy.url}/v2/${APP}/manifests/v1?ns=own.example&ns=${HUB}`)
    expect(errorOf(several).code).toBe('400 NAME_INVALID')
    const twice = await ask(`${proxy.url}/v2/${APP}/manifests/v1?ns=own.example&ns=own.example`)
    expect(twice.bytes.equals(bytes)).toBe(true)
  })

  it('can not be a push', async () => {
    const proxy = await world.startProxy()
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
    const digest = await pushBlob(world.upstream.url, APP, BIG)
    const proxy = await world.startProxy()
    const answer = await ask(blobUrl(proxy, digest), { method: 'HEAD' })
    expect(answer.headers.get('content-length')).toBe(String(BIG.byteLength))
    expect(world.gate.asked('GET', '/blobs/')).toEqual([])
  })

  it.each([
    ['manifests/none', '404 MANIFEST_UNKNOWN'],
    [`manifests/${digestOf('none')}`, '404 MANIFEST_UNKNOWN'],
    [`blobs/${digestOf('none')}`, '404 BLOB_UNKNOWN'],
  ])('is told when the upstream has no %s', async (path, code) => {
    const proxy = await world.startProxy()
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
      const proxy = await world.startProxy()
      world.gate.trouble.status = status
      const answers = [ask(manifestUrl(proxy, 'v1')), ask(blobUrl(proxy, digestOf('some')))]
      for (const answer of await Promise.all(answers)) {
        expect(errorOf(answer).code).toContain(code)
        expect(answer.headers.get('www-authenticate')).toBeNull()
      }
    },
    30_000,
  )
})

it('in read-only mode gives what it has, and blobs straight from their upstream', async () => {
  const { bytes, layer } = await world.pushImage('v1')
  const proxy = await world.startProxy()
  await ask(manifestUrl(proxy, 'v1'))
  await world.pushImage('v2')
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
  expect(world.gate.asked('GET', '/blobs/')).toHaveLength(2)
})

it('nodes of ours name the registry that they mean, and so may stand behind it', async () => {
  const { bytes } = await world.pushImage('v1')
  const near = await world.startProxy()
  const far = await startRegistry({ proxy: { upstreams: { [HUB]: { url: near.url } } } })
  world.atEnd(far.dispose)
  expect((await ask(manifestUrl(far, 'v1'))).bytes.equals(bytes)).toBe(true)
})

it('an image that is here in part is no damage, but of our own repositories it is', async () => {
  await world.pushImage('v1')
  const proxy = await world.startProxy()
  await ask(manifestUrl(proxy, 'v1'))
  const verify = async (options: object) => {
    const found: string[] = []
    await verifyStorage(new FilesystemDriver(proxy.dataDir), { found: ({ kind }) => found.push(kind), ...options })
    return found
  }
  expect(await verify({ upstreams: new Upstreams(proxy.options.proxy) })).toEqual([])
  expect(await verify({})).toEqual(['missing', 'missing'])
})
