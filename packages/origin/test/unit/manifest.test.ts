import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { digestOf, MANIFEST_ACCEPT, MAX_MANIFEST_BYTES } from '@shoal/core'
import { resolveConfig } from '@shoal/core/service'
import fc from 'fast-check'
import { Type } from 'typebox'
import { describe, expect, it, onTestFinished } from 'vitest'
import { nextQuery } from '../../src/list.ts'
import { originLimitsOptions, originsOptions } from '../../src/service/options.ts'
import { readOriginSettings } from '../../src/service/settings.ts'
import { clientFor, clientOf, NEVER, serve } from './fixtures.ts'

const BYTES = Buffer.from('{"schemaVersion":2}')
const DIGEST = digestOf(BYTES)
const DIGEST_512 = digestOf(BYTES, 'sha512')
const TYPE = 'application/vnd.oci.image.manifest.v1+json'
const call = (host: string, reference = 'latest') => ({ registry: host, repository: 'a/b', reference, signal: NEVER })

const answering = (headers: Record<string, string>, body: Buffer | string = BYTES, status = 200) =>
  serve((request, response) => {
    response.writeHead(status, headers)
    response.end(request.method === 'HEAD' ? undefined : body)
  })

describe('manifests', () => {
  it('come with type, digest and etag', async () => {
    const server = await answering({
      'content-type': `${TYPE}; charset=utf-8`,
      etag: '"e"',
      'docker-content-digest': DIGEST,
    })
    const reply = await clientOf(server).getManifest(call(server.host))
    expect(reply).toEqual({ status: 200, bytes: BYTES, mediaType: TYPE, digest: DIGEST, etag: '"e"' })
    expect(server.requests[0]?.url).toBe('/v2/a/b/manifests/latest')
    expect(server.requests[0]?.headers.accept).toBe(MANIFEST_ACCEPT)
  })

  it('come with the digest that was asked for, or a computed one', async () => {
    const server = await answering({})
    const client = clientOf(server)
    expect(await client.getManifest(call(server.host))).toEqual({ status: 200, bytes: BYTES, digest: DIGEST })
    expect(await client.getManifest(call(server.host, DIGEST_512))).toMatchObject({ digest: DIGEST_512 })
  })

  it.each([
    ['the digest asked for', {}, digestOf('other')],
    ['the digest announced', { 'docker-content-digest': digestOf('other') }, 'latest'],
    ['the digest announced in another algorithm', { 'docker-content-digest': digestOf('other', 'sha512') }, DIGEST],
  ])('are refused when they are not %s', async (_what, headers, reference) => {
    const server = await answering(headers)
    await expect(clientOf(server).getManifest(call(server.host, reference))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    })
  })

  it('are heads alone when asked for', async () => {
    const server = await answering({ 'content-type': TYPE, 'content-length': '19', 'docker-content-digest': DIGEST })
    const client = clientOf(server)
    const head = { status: 200, mediaType: TYPE, digest: DIGEST, sizeBytes: 19 }
    expect(await client.headManifest(call(server.host))).toEqual(head)
    expect(await client.headManifest(call(server.host, DIGEST))).toEqual(head)
    await expect(client.headManifest(call(server.host, digestOf('x')))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    })
    expect(server.requests[0]?.method).toBe('HEAD')
  })

  it('are 304 while nothing changed', async () => {
    const server = await answering({ etag: '"e"' }, '', 304)
    const client = clientOf(server)
    const asked = { ...call(server.host), ifNoneMatch: '"e"', accept: 'x/y' }
    expect(await client.getManifest(asked)).toEqual({ status: 304, etag: '"e"' })
    expect(await client.headManifest(asked)).toEqual({ status: 304, etag: '"e"' })
    expect(server.requests[0]?.headers).toMatchObject({ 'if-none-match': '"e"', accept: 'x/y' })
  })

  it.each([
    ['larger than 4 MiB', {}, Buffer.alloc(MAX_MANIFEST_BYTES + 1)],
    ['encoded', { 'content-encoding': 'gzip' }, BYTES],
  ])('are refused when %s', async (_what, headers, body) => {
    const server = await answering(headers, body)
    await expect(clientOf(server).getManifest(call(server.host))).rejects.toMatchObject({ code: 'PROTOCOL' })
  })

  it.each([
    [{ repository: '../../etc' }, 'NAME_INVALID'],
    [{ repository: 'a/b?x=' }, 'NAME_INVALID'],
    [{ reference: '../x' }, 'REFERENCE_INVALID'],
    [{ registry: '127.0.0.1:9' }, 'NOT_ALLOWED'],
  ])('are not asked for as %o', async (wrong, code) => {
    const server = await answering({})
    await expect(clientOf(server).getManifest({ ...call(server.host), ...wrong })).rejects.toMatchObject({ code })
    expect(server.requests).toHaveLength(0)
  })

  it('a body that is not HTTP is a PROTOCOL error', async () => {
    const server = await serve((request) => request.socket.end('HTTP/1.1 what\r\n\r\n'))
    await expect(clientOf(server).getManifest(call(server.host))).rejects.toMatchObject({ code: 'PROTOCOL' })
  })
})

describe('lists', () => {
  it('are passed on with their Link', async () => {
    const headers = { 'content-type': 'application/json', link: '</v2/a/b/tags/list?last=x>; rel="next"' }
    const server = await answering({ ...headers, 'oci-filters-applied': 'artifactType' }, '{"tags":[]}')
    const client = clientOf(server, {}, { url: `${server.url}/base/` })
    const expected = {
      bytes: Buffer.from('{"tags":[]}'),
      mediaType: 'application/json',
      next: 'last=x',
      filtersApplied: 'artifactType',
    }
    const { registry, repository, signal } = call(server.host)
    expect(await client.listTags({ registry, repository, signal, query: 'n=5&last=a%26b' })).toEqual(expected)
    const query = 'artifactType=a%2Fb+c&ns=docker.io&last=x'
    expect(await client.getReferrers({ registry, repository, signal, digest: DIGEST, query })).toEqual(expected)
    expect(await client.listTags({ registry, repository, signal })).toEqual(expected)
    expect(server.requests.map(({ url }) => url)).toEqual([
      '/base/v2/a/b/tags/list?n=5&last=a%26b',
      `/base/v2/a/b/referrers/${DIGEST}?artifactType=a%2Fb+c&last=x`,
      '/base/v2/a/b/tags/list',
    ])
  })
})

describe('the next page of a list', () => {
  const asked = new URL('https://r.example/base')
  it.each([
    ['</v2/a/tags/list?n=2&last=x>; rel="next"', 'n=2&last=x'],
    ['<?next_page=a%2Fb==~_-.>; rel=next', 'next_page=a%2Fb==~_-.'],
    ['<https://elsewhere.example/v2/a/tags/list?token=x>; rel="next"', 'token=x'],
    ['<https://r.example/other?cursor=1>', 'cursor=1'],
    ['</v2/a/tags/list?ns=docker.io&last=x&ns=b>; rel="next"', 'last=x'],
    ['</p?x=1>; rel="prev", </n?x=2>; title="a, b"; rel="next"', 'x=2'],
    ['</p?x=1>; rel="prev"', undefined],
    ['</n>; rel="next"', undefined],
    ['</n?a b>; rel="next"', 'a%20b'],
    ['</n?a"\n>; rel="next"', 'a%22'],
    ['http://x', undefined],
    [`</n?${'x'.repeat(5000)}>; rel="next"`, undefined],
    [undefined, undefined],
  ])('is told by %s: %s', (link, expected) => {
    expect(nextQuery({ status: 200, headers: { link } }, asked)).toBe(expected)
  })

  it('is told by any header', () => {
    fc.assert(
      fc.property(fc.string(), (link) => void nextQuery({ status: 200, headers: { link: `<${link}>` } }, asked)),
    )
  })
})

describe('settings', () => {
  const schema = Type.Object({ origins: originsOptions, limits: originLimitsOptions }, { additionalProperties: false })
  const load = (values: unknown) => resolveConfig(schema, [{ source: 'test', values }]).values

  it('have defaults and refuse unknown keys', () => {
    expect(load({})).toEqual({
      origins: {},
      limits: {
        connectTimeoutMs: 3000,
        headersTimeoutMs: 10_000,
        progressTimeoutMs: 10_000,
        totalTimeoutMs: 30_000,
        connections: 32,
      },
    })
    const entry = { url: 'http://x', tokenHosts: ['a'], insecureTls: true }
    expect(load({ origins: { 'x:5000': entry } }).origins).toEqual({ 'x:5000': entry })
    expect(() => load({ origins: { x: { usrname: 'a' } } })).toThrow(/did you mean "origins.x.username"/)
  })

  it('read the files they name', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'origin-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const passwordFile = join(folder, 'password')
    await writeFile(passwordFile, ' p w \n')
    expect(await readOriginSettings({ x: { url: 'http://x', username: 'u', passwordFile } })).toEqual({
      x: { url: 'http://x', username: 'u', password: ' p w ' },
    })
    await expect(readOriginSettings({ x: { username: 'u' } })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    const missing = readOriginSettings({ x: { caFile: join(folder, 'none') } })
    await expect(missing).rejects.toMatchObject({
      code: 'CONFIG_UNREADABLE',
      message: expect.stringContaining('ENOENT'),
    })
  })

  it('are the same in any thread', () => {
    const origins = { x: { url: 'http://127.0.0.1', username: 'u', password: 'p' } }
    expect(() => clientFor(structuredClone(origins))).not.toThrow()
  })
})
