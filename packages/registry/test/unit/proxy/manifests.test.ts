import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLogger, digestOf, parseDigest } from '@shoal/core'
import { OriginClient } from '@shoal/origin'
import { Registry } from 'prom-client'
import { expect, it, onTestFinished } from 'vitest'
import { ProxiedManifests } from '../../../src/proxy/manifests.ts'
import { createProxyMetrics } from '../../../src/proxy/metrics.ts'
import { Upstreams } from '../../../src/proxy/upstreams.ts'
import { ContentUses } from '../../../src/storage/content-uses.ts'
import { ManifestStore } from '../../../src/storage/manifests.ts'
import { MemoryDriver } from '../../../src/storage/memory.ts'
import { Turns } from '../../../src/storage/turns.ts'

const NAME = 'odd.test/team/app'
const DIGEST = `sha256:${'1'.repeat(64)}`
const descriptor = { mediaType: 'application/octet-stream', digest: DIGEST, size: 2 }
const image = { schemaVersion: 2, config: descriptor, layers: [descriptor] }

/** A cache of a registry whose tag means what `text` says. */
async function cacheOf(text: string) {
  const server = createServer((request, response) => {
    response.writeHead(200, { 'content-length': Buffer.byteLength(text) })
    response.end(request.method === 'HEAD' ? undefined : text)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const deadline = 5000
  const limits = {
    connectTimeoutMs: deadline,
    headersTimeoutMs: deadline,
    progressTimeoutMs: deadline,
    totalTimeoutMs: deadline,
    connections: 2,
  }
  const log = createLogger('test', 'silent')
  const client = new OriginClient({ origins: { 'odd.test': { url } }, allowUnlisted: false, limits }, { log })
  onTestFinished(async () => {
    await client.close()
    server.closeAllConnections()
    server.close()
  })
  const manifests = new ManifestStore(new MemoryDriver(2 ** 20), new ContentUses())
  const proxied = new ProxiedManifests(0, {
    upstreams: new Upstreams({ upstreams: { 'odd.test': {} }, names: [] }),
    client,
    manifests,
    turns: new Turns(),
    mayKeep: () => true,
    used: () => {},
    metrics: createProxyMetrics(new Registry()),
    signal: new AbortController().signal,
    now: () => 0,
  })
  return { proxied, manifests }
}

it.each([
  ['a null subject', { ...image, subject: null }],
  ['a null artifactType and mediaType', { ...image, artifactType: null, mediaType: null }],
  ['null layers', { ...image, layers: null }],
  ['no layers', { schemaVersion: 2, config: descriptor }],
  ['an annotation that is null', { ...image, annotations: { a: null } }],
  ['a descriptor without a size', { ...image, layers: [{ mediaType: 'x/y', digest: DIGEST }] }],
  ['no schemaVersion', { config: descriptor, layers: [] }],
  ['schema 1', { schemaVersion: 1, name: 'a', tag: 'b', fsLayers: [], signatures: [] }],
  [
    'an ORAS artifact manifest',
    { mediaType: 'application/vnd.cncf.oras.artifact.manifest.v1+json', blobs: [descriptor], subject: descriptor },
  ],
])('a manifest with %s is kept by its digest, as it came', async (_what, manifest) => {
  const text = `${JSON.stringify(manifest, null, 3)}\n`
  const digest = digestOf(text)
  const { proxied, manifests } = await cacheOf(text)
  for (const reference of [{ tag: 'v1' }, { digest }]) {
    expect(await proxied.freshen(NAME, reference)).toBeUndefined()
    expect(await manifests.resolve(NAME, reference)).toEqual(parseDigest(digest))
  }
  expect(Buffer.from((await manifests.read(NAME, parseDigest(digest))) ?? '').toString()).toBe(text)
})

it('a page to log in is not kept', async () => {
  const { proxied, manifests } = await cacheOf('<!DOCTYPE html><title>Log in</title>')
  await expect(proxied.freshen(NAME, { tag: 'v1' })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(await manifests.knows(NAME)).toBe(false)
})
