import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { digestOf } from '@shoal/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ask, content, startRegistry } from '../running-registry.ts'

const NAME = 'odd.test/team/app'
const LAYER = content('layer', 50_000)
const CONFIG = Buffer.from('{}')
const TYPE = 'application/vnd.oci.image.manifest.v1+json'
const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: TYPE,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestOf(CONFIG),
      size: CONFIG.byteLength,
    },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf(LAYER), size: LAYER.byteLength }],
  }),
)
const CONTENT = new Map<string, Buffer>([
  ...['v1', digestOf(MANIFEST)].map((reference): [string, Buffer] => [`/v2/team/app/manifests/${reference}`, MANIFEST]),
  ...[LAYER, CONFIG].map((blob): [string, Buffer] => [`/v2/team/app/blobs/${digestOf(blob)}`, blob]),
])

/** A cache of one upstream, and what that was asked. */
async function cacheOf(listener: RequestListener, proxy: object = {}) {
  const seen: string[] = []
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url?.split('?')[0]}`)
    listener(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const registry = await startRegistry({ proxy: { upstreams: { 'odd.test': { url } }, ...proxy } })
  onTestFinished(async () => {
    await registry.dispose()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { url: `${registry.url}/v2/${NAME}`, seen }
}

/** Answers as a good registry does. */
const good: RequestListener = (request, response) => {
  const path = request.url?.split('?')[0] ?? ''
  const found = CONTENT.get(path)
  if (found === undefined) {
    response.writeHead(404).end()
    return
  }
  const headers = { 'content-type': path.includes('/manifests/') ? TYPE : 'application/octet-stream' }
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
  const part = found.subarray(Number(range?.[1] ?? 0), Number(range?.[2] ?? found.byteLength) + 1)
  const about = range === null ? {} : { 'content-range': `bytes ${range[1]}-${range[2]}/${found.byteLength}` }
  response.writeHead(range === null ? 200 : 206, { ...headers, ...about, 'content-length': part.byteLength })
  response.end(request.method === 'HEAD' ? undefined : part)
}

/** What no registry of ours would take, and clients of that registry pull all the same. */
const ODD_MANIFESTS = {
  'null members': {
    schemaVersion: 2,
    mediaType: null,
    config: null,
    layers: null,
    subject: null,
    annotations: { a: null },
  },
  'a descriptor without a size': {
    schemaVersion: 2,
    config: { mediaType: 'x/y', digest: digestOf(CONFIG) },
    layers: [],
  },
  'no schemaVersion': { config: null, layers: [] },
  'schema 1': { schemaVersion: 1, name: 'a', tag: 'b', fsLayers: [], signatures: [] },
  'an artifact of ORAS': { mediaType: 'application/vnd.cncf.oras.artifact.manifest.v1+json', blobs: [] },
}

describe('a cache of an upstream', () => {
  it.each(Object.entries(ODD_MANIFESTS))('hands on a manifest with %s as it came', async (_what, manifest) => {
    const bytes = Buffer.from(JSON.stringify(manifest))
    const { url } = await cacheOf((request, response) => {
      response.writeHead(200, { 'content-type': TYPE, 'content-length': bytes.byteLength })
      response.end(request.method === 'HEAD' ? undefined : bytes)
    })
    for (const reference of ['v1', digestOf(bytes)]) {
      const answer = await ask(`${url}/manifests/${reference}`)
      expect(answer.status).toBe(200)
      expect(answer.bytes.equals(bytes)).toBe(true)
    }
  })

  it.each([
    ['that refuses HEAD', { status: 405, headers: {} }],
    ['whose HEAD says that all is empty', { status: 200, headers: { 'content-length': '0' } }],
    [
      'whose HEAD names another digest',
      { status: 200, headers: { 'docker-content-digest': digestOf('another'), 'content-length': '9' } },
    ],
  ])('%s gives what GET gives', async (_what, { status, headers }) => {
    const { url, seen } = await cacheOf((request, response) =>
      request.method === 'HEAD' ? response.writeHead(status, headers).end() : good(request, response),
    )
    expect((await ask(`${url}/manifests/v1`)).bytes.equals(MANIFEST)).toBe(true)
    expect((await ask(`${url}/blobs/${digestOf(LAYER)}`)).bytes.equals(LAYER)).toBe(true)
    // It took no more than one GET of the manifest, which some registries count.
    expect(seen.filter((each) => each === 'GET /v2/team/app/manifests/v1')).toHaveLength(1)
  })

  it('that limits our rate gives what is here at once, and else says when to come back', async () => {
    let isLimited = false
    const { url, seen } = await cacheOf((request, response) => {
      if (!isLimited) return good(request, response)
      response.writeHead(429, { 'retry-after': '20' }).end('{}')
    })
    await ask(`${url}/manifests/v1`)
    await ask(`${url}/blobs/${digestOf(LAYER)}`)
    isLimited = true
    const before = seen.length
    const kept = await Promise.all(Array.from({ length: 3 }, () => ask(`${url}/manifests/v1`)))
    for (const answer of kept) {
      expect(answer.bytes.equals(MANIFEST)).toBe(true)
      expect(answer.headers.get('warning')).toContain('429')
    }
    expect((await ask(`${url}/blobs/${digestOf(LAYER)}`)).bytes.equals(LAYER)).toBe(true)
    for (const path of [`blobs/${digestOf(CONFIG)}`, 'manifests/v2', 'tags/list']) {
      const answer = await ask(`${url}/${path}`)
      if (path === 'tags/list') continue
      expect(answer.status).toBe(429)
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(10)
    }
    expect(seen.slice(before)).toHaveLength(1)
  })

  it('whose pages are known by tokens of its own gives all of them', async () => {
    const tags = Array.from({ length: 25 }, (_, i) => `t${String(i).padStart(2, '0')}`)
    const shuffled = [...tags.slice(13), ...tags.slice(0, 13)]
    const { url } = await cacheOf((request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? '', 'http://x')
      const at = Number(searchParams.get('next_page') ?? 0)
      const link = `<https://internal.test${pathname}?next_page=${at + 10}>; rel="next"`
      if (at + 10 < 25) response.setHeader('link', link)
      const page = shuffled.slice(at, at + 10)
      response.end(JSON.stringify({ tags: page, manifests: page.map((digest) => ({ digest })) }))
    })
    const pagesOf = async (path: string): Promise<Record<string, unknown>[]> => {
      const { bytes, headers } = await ask(path)
      const next = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1]
      expect(next ?? `/v2/${NAME}/`).toMatch(new RegExp(`^/v2/${NAME}/`))
      const rest = next === undefined ? [] : await pagesOf(new URL(next, url).href)
      return [JSON.parse(bytes.toString()) as Record<string, unknown>, ...rest]
    }
    expect(await pagesOf(`${url}/tags/list`)).toEqual([{ name: NAME, tags }])
    const pages = await pagesOf(`${url}/tags/list?n=7`)
    expect(pages.map((page) => page.tags)).toEqual([0, 7, 14, 21].map((at) => tags.slice(at, at + 7)))
    const referrers = await pagesOf(`${url}/referrers/${digestOf(MANIFEST)}`)
    expect(referrers.flatMap((page) => (page.manifests as { digest: string }[]).map(({ digest }) => digest))).toEqual(
      shuffled,
    )
  })

  it.each(['{"manifests":null}', '{"schemaVersion":2}', '{"manifests":[null]}'])(
    'whose list of referrers is %s gives an empty one',
    async (list) => {
      const { url } = await cacheOf((_request, response) => response.end(list))
      const answer = await ask(`${url}/referrers/${digestOf(MANIFEST)}?artifactType=x`)
      expect(answer.status).toBe(200)
      expect(JSON.parse(answer.bytes.toString())).toMatchObject({ manifests: [] })
    },
  )
})
