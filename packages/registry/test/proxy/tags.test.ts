import { digestOf, MEDIA_TYPES } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ask, descriptor, errorOf, pushBlob, pushManifest } from '../running-registry.ts'
import { APP, HUB, LOCAL, manifestUrl, World } from './world.ts'

let world: World
beforeEach(async () => {
  world = await World.start()
})
afterEach(() => world.dispose())

describe('a tag of an upstream', () => {
  it('is asked for each time, with one question for all who ask meanwhile', async () => {
    await world.pushImage('v1')
    const proxy = await world.startProxy()
    await ask(manifestUrl(proxy, 'v1'))
    const before = world.gate.asked('HEAD', '/manifests/').length
    await Promise.all(Array.from({ length: 20 }, () => ask(manifestUrl(proxy, 'v1'))))
    expect(world.gate.asked('HEAD', '/manifests/').length - before).toBeLessThan(20)
    expect(world.gate.asked('GET', '/manifests/')).toHaveLength(1)
    const moved = await world.pushImage('v1', 'moved')
    expect((await ask(manifestUrl(proxy, 'v1'))).bytes.equals(moved.bytes)).toBe(true)
    await ask(`${world.upstream.url}/v2/${APP}/manifests/v1`, { method: 'DELETE' })
    expect(errorOf(await ask(manifestUrl(proxy, 'v1'))).code).toBe('404 MANIFEST_UNKNOWN')
    await world.gate.close()
    expect((await ask(manifestUrl(proxy, 'v1'))).status).toBe(503)
  })

  it('holds for tagSeconds', async () => {
    const { bytes } = await world.pushImage('v1')
    const proxy = await world.startProxy({ tagSeconds: 3600 })
    await ask(manifestUrl(proxy, 'v1'))
    await world.pushImage('v1', 'moved')
    const asked = world.gate.seen.length
    expect((await ask(manifestUrl(proxy, 'v1'))).bytes.equals(bytes)).toBe(true)
    expect(world.gate.seen.length).toBe(asked)
  })

  it('is answered at once for a while after its upstream could not be asked', async () => {
    const { bytes } = await world.pushImage('v1')
    const proxy = await world.startProxy()
    await ask(manifestUrl(proxy, 'v1'))
    world.gate.trouble.status = 503
    await ask(manifestUrl(proxy, 'v1'))
    const asked = world.gate.seen.length
    const answer = await ask(manifestUrl(proxy, 'v1'))
    expect(answer.bytes.equals(bytes)).toBe(true)
    expect(answer.headers.get('warning')).toContain('503')
    expect(world.gate.seen.length).toBe(asked)
  }, 30_000)
})

describe('lists', () => {
  it('are the upstream’s, page by page, and ours while it can not be asked', async () => {
    for (const tag of ['a', 'b', 'c']) await world.pushImage(tag)
    const proxy = await world.startProxy()
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
    await world.gate.close()
    expect(await page(`/v2/${LOCAL}/tags/list`)).toMatchObject({ tags: ['b'], warning: expect.stringContaining('299') })
    const unknown = await ask(`${proxy.url}/v2/${HUB}/library/never/tags/list`)
    expect(errorOf(unknown).code).toBe('404 NAME_UNKNOWN')
  })

  it('of referrers are too', async () => {
    const image = await world.pushImage('v1')
    const subject = { mediaType: MEDIA_TYPES.ociManifest, digest: image.digest, size: image.bytes.byteLength }
    const large = { text: 'x'.repeat(2.5 * 1024 * 1024) }
    const refer = async (artifactType: string, annotations = {}) => {
      const config = Buffer.from('{}')
      await pushBlob(world.upstream.url, APP, config)
      const empty = descriptor(MEDIA_TYPES.ociEmpty, config)
      const manifest = {
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociManifest,
        artifactType,
        config: empty,
        layers: [empty],
        subject,
        annotations,
      }
      const { digest } = await pushManifest(world.upstream.url, APP, digestOf(JSON.stringify(manifest)), manifest)
      expect(digest).toContain('sha256:')
    }
    for (const artifactType of ['example/sbom', 'example/signature']) await refer(artifactType)
    const proxy = await world.startProxy()
    const list = async (query = '') => {
      const { bytes, headers } = await ask(`${proxy.url}/v2/${LOCAL}/referrers/${image.digest}${query}`)
      const { manifests } = JSON.parse(bytes.toString()) as { manifests: { artifactType: string }[] }
      return { types: manifests.map(({ artifactType }) => artifactType).sort(), headers }
    }
    expect((await list()).types).toEqual(['example/sbom', 'example/signature'])
    const filtered = await list('?artifactType=example/sbom')
    expect(filtered.types).toEqual(['example/sbom'])
    expect(filtered.headers.get('oci-filters-applied')).toBe('artifactType')

    // More than go on one page.
    for (const artifactType of ['large/1', 'large/2', 'large/3']) await refer(artifactType, large)
    const types: string[] = []
    let pages = 0
    for (let next: string | undefined = '?'; next !== undefined; pages++) {
      const page: Awaited<ReturnType<typeof list>> = await list(next)
      types.push(...page.types)
      next = /^<[^?]+(\?[^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1]
    }
    expect(pages).toBe(3)
    expect(types.sort()).toEqual(['example/sbom', 'example/signature', 'large/1', 'large/2', 'large/3'])
    await world.gate.close()
    expect((await list()).types).toEqual([])
  })
})
