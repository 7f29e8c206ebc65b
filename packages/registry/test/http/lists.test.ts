import { parseDigest } from '@shoal/core'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ContentUses } from '../../src/storage/content-uses.ts'
import { FilesystemDriver } from '../../src/storage/filesystem.ts'
import { ManifestStore } from '../../src/storage/manifests.ts'
import {
  ask,
  errorOf,
  pushBlob,
  pushImageBlobs,
  pushManifest,
  type RunningRegistry,
  startRegistry,
} from '../running-registry.ts'

let registry: RunningRegistry
let image: object
const TAGS = ['10', '9', 'B', 'a', 'b', 'c']
beforeAll(async () => {
  registry = await startRegistry()
  image = await pushImageBlobs(registry.url, 'lib/app', 'app')
  for (const tag of [...TAGS].reverse()) await pushManifest(registry.url, 'lib/app', tag, image)
})
afterAll(() => registry.dispose())

interface Page {
  readonly status: number
  readonly entries: string[]
  readonly next: string | undefined
}

const page = async (path: string): Promise<Page> => {
  const { status, headers, bytes } = await ask(registry.url + path)
  const body = JSON.parse(bytes.toString()) as { tags?: string[]; repositories?: string[]; name?: string }
  const next = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1]
  return { status, entries: body.tags ?? body.repositories ?? [], next }
}
const follow = async (path: string): Promise<string[]> => {
  const { entries, next } = await page(path)
  return next === undefined ? entries : [...entries, ...(await follow(next))]
}

describe('tags', () => {
  const list = '/v2/lib/app/tags/list'

  it('come in order, with the name', async () => {
    const { bytes } = await ask(registry.url + list)
    expect(JSON.parse(bytes.toString())).toEqual({ name: 'lib/app', tags: TAGS })
  })

  it.each([
    ['?n=2', ['10', '9'], true],
    ['?n=6', TAGS, false],
    ['?n=100000', TAGS, false],
    ['?n=0', [], false],
    ['?n=2&last=9', ['B', 'a'], true],
    ['?last=a', ['b', 'c'], false],
    ['?last=aa', ['b', 'c'], false],
    ['?last=zzz', [], false],
  ])('%s', async (query, entries, hasNext) => {
    const found = await page(list + query)
    expect(found.entries).toEqual(entries)
    expect(found.next !== undefined).toBe(hasNext)
  })

  it('are all found by following links', async () => {
    for (const n of [1, 2, 4, 5]) expect(await follow(`${list}?n=${n}`)).toEqual(TAGS)
  })

  it('of a bad page or an unknown repository are refused', async () => {
    expect(errorOf(await ask(`${registry.url + list}?n=x`)).code).toBe('400 PAGINATION_NUMBER_INVALID')
    expect(errorOf(await ask(`${registry.url}/v2/unknown/tags/list`)).code).toBe('404 NAME_UNKNOWN')
    await pushBlob(registry.url, 'blobs/only', Buffer.from('x'))
    expect(errorOf(await ask(`${registry.url}/v2/blobs/only/tags/list`)).code).toBe('404 NAME_UNKNOWN')
  })

  it('are none, not unknown, when the last one is deleted', async () => {
    await pushImageBlobs(registry.url, 'emptied', 'app')
    await pushManifest(registry.url, 'emptied', 'only', image)
    await ask(`${registry.url}/v2/emptied/manifests/only`, { method: 'DELETE' })
    const answer = await ask(`${registry.url}/v2/emptied/tags/list`)
    expect([answer.status, answer.bytes.toString()]).toEqual([200, '{"name":"emptied","tags":[]}'])
  })
})

describe('catalog', () => {
  it('names the repositories, page by page', async () => {
    const fresh = await startRegistry()
    try {
      const names = ['a', 'a/b', 'a-b', 'lib/x', 'lib/x/y', 'z']
      for (const name of names) await pushBlob(fresh.url, name, Buffer.from('x'))
      const get = async (path: string) => ask(fresh.url + path)
      expect(JSON.parse((await get('/v2/_catalog')).bytes.toString())).toEqual({ repositories: names })
      const seen: string[] = []
      for (let path: string | undefined = '/v2/_catalog?n=2'; path !== undefined; ) {
        const answer: Awaited<ReturnType<typeof ask>> = await get(path)
        const { repositories } = JSON.parse(answer.bytes.toString()) as { repositories: string[] }
        expect(repositories.length).toBe(2)
        seen.push(...repositories)
        path = /^<([^>]+)>/.exec(answer.headers.get('link') ?? '')?.[1]
      }
      expect(seen).toEqual(names)
      expect((await get('/v2/_catalog?n=0')).bytes.toString()).toBe('{"repositories":[]}')
      expect(errorOf(await get('/v2/_catalog?n=1001')).code).toBe('400 PAGINATION_NUMBER_INVALID')
    } finally {
      await fresh.dispose()
    }
  })
})

describe('the index of lists', () => {
  it('is asked again, and can be told that the storage was changed behind it', async () => {
    const tags = () => follow('/v2/lib/behind/tags/list')
    const { digest } = await pushManifest(
      registry.url,
      'lib/behind',
      'v1',
      await pushImageBlobs(registry.url, 'lib/behind', 'v1'),
    )
    expect(await tags()).toEqual(['v1'])
    const metric = 'shoal_registry_lists_total{of="tags",from="index"}'
    const countOf = async () =>
      Number((await ask(`${registry.metricsUrl}/metrics`)).bytes.toString().split(`${metric} `)[1]?.split('\n')[0])
    await vi.waitFor(async () => {
      const before = (await countOf()) || 0
      expect(await tags()).toEqual(['v1'])
      expect(await countOf()).toBe(before + 1)
    })

    const behind = new ManifestStore(new FilesystemDriver(registry.dataDir), new ContentUses())
    await behind.tag('lib/behind', 'v2', parseDigest(digest))
    expect(await tags()).toEqual(['v1'])
    expect((await ask(`${registry.metricsUrl}/api/v1/index`, { method: 'DELETE' })).status).toBe(204)
    expect(await tags()).toEqual(['v1', 'v2'])
  })
})
