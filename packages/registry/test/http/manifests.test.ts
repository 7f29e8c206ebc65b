import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf, MAX_MANIFEST_BYTES, MEDIA_TYPES, parseDigest } from '@shoal/core'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ContentUses } from '../../src/storage/content-uses.ts'
import { FilesystemDriver } from '../../src/storage/filesystem.ts'
import { ManifestStore } from '../../src/storage/manifests.ts'
import { blobPath, tagCurrentPath } from '../../src/storage/paths.ts'
import {
  ask,
  content,
  descriptor,
  errorOf,
  pushBlob,
  pushImageBlobs,
  pushManifest,
  type RunningRegistry,
  startRegistry,
} from '../running-registry.ts'

let registry: RunningRegistry
let image: Record<string, unknown>
beforeAll(async () => {
  registry = await startRegistry()
  image = await pushImageBlobs(registry.url, 'app', 'app')
})
afterAll(() => registry.dispose())

const at = (reference: string, repository = 'app') => `${registry.url}/v2/${repository}/manifests/${reference}`
const push = (reference: string, manifest: object, repository = 'app') =>
  pushManifest(registry.url, repository, reference, manifest)
const put = (reference: string, body: string | Uint8Array, contentType: string = MEDIA_TYPES.ociManifest) =>
  ask(at(reference), { method: 'PUT', headers: { 'content-type': contentType }, body })
const annotated = (text: string) => ({ ...image, annotations: { text } })

describe('manifest push and pull', () => {
  it('by tag, pulled by tag and digest with the exact bytes', async () => {
    const { digest, bytes, answer } = await push('v1', image)
    expect(answer.status).toBe(201)
    expect(answer.headers.get('location')).toBe(`/v2/app/manifests/${digest}`)
    expect(answer.headers.get('docker-content-digest')).toBe(digest)
    expect(answer.headers.get('oci-subject')).toBeNull()
    for (const reference of ['v1', digest]) {
      const pulled = await ask(at(reference))
      expect(pulled.status).toBe(200)
      expect(pulled.bytes.equals(bytes)).toBe(true)
      const head = await ask(at(reference), { method: 'HEAD' })
      expect(head.bytes.length).toBe(0)
      for (const { headers } of [pulled, head]) {
        expect(Object.fromEntries(headers)).toMatchObject({
          'content-type': MEDIA_TYPES.ociManifest,
          'content-length': String(bytes.length),
          'docker-content-digest': digest,
          etag: `"${digest}"`,
        })
      }
      for (const method of ['GET', 'HEAD']) {
        for (const etags of [`"${digest}"`, `"x", W/"${digest}"`, '*']) {
          const same = await ask(at(reference), { method, headers: { 'if-none-match': etags } })
          expect([same.status, same.bytes.length]).toEqual([304, 0])
          expect(same.headers.get('etag')).toBe(`"${digest}"`)
        }
        const other = await ask(at(reference), { method, headers: { 'if-match': '"x"' } })
        expect(other.status).toBe(412)
      }
    }
  })

  it.each(['sha256', 'sha512'] as const)('by %s digest, with tags', async (algorithm) => {
    const bytes = Buffer.from(JSON.stringify(annotated(algorithm)))
    const digest = digestOf(bytes, algorithm)
    const tags = Array.from({ length: 12 }, (_, i) => `${algorithm}-${i}`)
    const answer = await put(`${digest}?${tags.map((tag) => `tag=${tag}`).join('&')}`, bytes)
    expect(answer.status).toBe(201)
    expect(answer.headers.get('docker-content-digest')).toBe(digest)
    expect(answer.headers.get('oci-tag')?.split(', ')).toEqual(tags)
    for (const reference of [digest, `${algorithm}-11`]) {
      const pulled = await ask(at(reference))
      expect(pulled.bytes.equals(bytes)).toBe(true)
      expect(pulled.headers.get('docker-content-digest')).toBe(digest)
    }
  })

  it('refuses tag parameters that are too many or no tags', async () => {
    const bytes = Buffer.from(JSON.stringify(image))
    const many = Array.from({ length: 101 }, (_, i) => `tag=t${i}`).join('&')
    expect(errorOf(await put(`${digestOf(bytes)}?${many}`, bytes)).code).toBe('414 TAG_INVALID')
    expect(errorOf(await put(`${digestOf(bytes)}?tag=.x`, bytes)).code).toBe('400 TAG_INVALID')
  })

  it('moves a tag', async () => {
    await push('moving', image)
    const { digest } = await push('moving', annotated('moved'))
    expect((await ask(at('moving'))).headers.get('docker-content-digest')).toBe(digest)
  })

  it.each([
    ['with parameters', `${MEDIA_TYPES.ociManifest}; charset=utf-8`, {}],
    ['without a type of its own', MEDIA_TYPES.ociManifest, { mediaType: undefined }],
  ])('answers the bare type of one pushed %s', async (what, contentType, change) => {
    const tag = what.replaceAll(' ', '-')
    expect((await put(tag, JSON.stringify({ ...image, ...change }), contentType)).status).toBe(201)
    expect((await ask(at(tag))).headers.get('content-type')).toBe(MEDIA_TYPES.ociManifest)
  })

  it("takes Docker's manifests and lists", async () => {
    const { digest, bytes, answer } = await push('docker', { ...image, mediaType: MEDIA_TYPES.dockerManifest })
    expect(answer.status).toBe(201)
    const child = descriptor(MEDIA_TYPES.dockerManifest, bytes, digest)
    const list = { schemaVersion: 2, mediaType: MEDIA_TYPES.dockerList, manifests: [child] }
    expect((await push('docker-list', list)).answer.status).toBe(201)
    expect((await ask(at('docker-list'))).headers.get('content-type')).toBe(MEDIA_TYPES.dockerList)
    expect((await ask(at('docker'))).headers.get('content-type')).toBe(MEDIA_TYPES.dockerManifest)
    const untyped = await put('docker', JSON.stringify({ ...image, mediaType: undefined }), MEDIA_TYPES.dockerManifest)
    expect(errorOf(untyped).message).toContain('has no mediaType')
  })

  it('takes an index of images, of nothing, and of another index', async () => {
    const { digest, bytes } = await push('child', image)
    const index = (...manifests: object[]) => ({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests })
    const parent = await push('index', index(descriptor(MEDIA_TYPES.ociManifest, bytes, digest)))
    expect(parent.answer.status).toBe(201)
    const nested = await push('nested', index(descriptor(MEDIA_TYPES.ociIndex, parent.bytes, parent.digest)))
    expect(nested.answer.status).toBe(201)
    expect((await push('empty', index())).answer.status).toBe(201)
    expect((await ask(at('nested'))).headers.get('content-type')).toBe(MEDIA_TYPES.ociIndex)
  })

  it('takes an index of blobs, which build caches make', async () => {
    const bytes = content('cache', 30)
    const digest = await pushBlob(registry.url, 'app', bytes)
    const manifests = [descriptor('application/vnd.oci.image.layer.v1.tar+gzip', bytes, digest)]
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }
    expect((await push('cache', index)).answer.status).toBe(201)
  })

  it('takes the largest manifest there may be, and no larger one', async () => {
    const room = MAX_MANIFEST_BYTES - JSON.stringify(annotated('')).length
    expect((await put('large', JSON.stringify(annotated('x'.repeat(room))))).status).toBe(201)
    const larger = JSON.stringify(annotated('x'.repeat(room + 1)))
    expect(errorOf(await put('larger', larger)).code).toBe('413 SIZE_INVALID')
    const streamed = await ask(at('larger'), { method: 'PUT', body: new Blob([larger]).stream() })
    expect(errorOf(streamed).code).toBe('413 SIZE_INVALID')
    expect((await ask(at('larger'))).status).toBe(404)
  })

  it.each([
    ['GET', 'unknown'],
    ['GET', digestOf('unknown')],
    ['GET', '.INVALID_MANIFEST_NAME'],
    ['DELETE', 'unknown'],
    ['DELETE', digestOf('unknown')],
    ['DELETE', '.INVALID'],
  ])('answers %s %s with MANIFEST_UNKNOWN', async (method, reference) => {
    expect(errorOf(await ask(at(reference), { method })).code).toBe('404 MANIFEST_UNKNOWN')
    if (method === 'GET') expect((await ask(at(reference), { method: 'HEAD' })).status).toBe(404)
  })
})

describe('what the storage holds is served without being parsed', () => {
  const values = `[${'{},'.repeat(1_300_000)}{}]`
  const ociType = MEDIA_TYPES.ociManifest
  it.each([
    ['more values than a push may have', `{"schemaVersion":2,"mediaType":"${ociType}","x":${values}}`, ociType],
    [
      'Docker schema 1',
      '{"schemaVersion":1,"fsLayers":[],"signatures":[]}',
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
    ],
    [
      'an artifact manifest of ORAS',
      '{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[]}',
      'application/vnd.oci.artifact.manifest.v1+json',
    ],
    ['no JSON', 'text', ociType],
  ])('%s', async (_what, text, mediaType) => {
    const bytes = Buffer.from(text)
    const digest = digestOf(bytes)
    // As Distribution may have written it.
    const driver = new FilesystemDriver(registry.dataDir)
    await new ManifestStore(driver, new ContentUses()).put('app', parseDigest(digest), bytes)
    const parse = vi.spyOn(JSON, 'parse')
    const answers = [await ask(at(digest), { method: 'HEAD' }), await ask(at(digest))]
    const parsed = parse.mock.calls.map(([json]) => json)
    parse.mockRestore()
    expect(parsed.filter((json) => json === text)).toEqual([])
    for (const answer of answers) {
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, mediaType])
      expect(answer.headers.get('content-length')).toBe(String(bytes.length))
    }
    expect(answers[1]?.bytes.equals(bytes)).toBe(true)
  })
})

it('takes null for what is absent, as programs in Go write it', async () => {
  const nulls = { subject: null, artifactType: null, layers: null, annotations: { none: null } }
  const { digest, answer } = await push('nulls', { ...image, ...nulls })
  expect(answer.status).toBe(201)
  const untyped = JSON.stringify({ ...image, mediaType: null, layers: null, annotations: null })
  expect((await put('nulls', untyped)).status).toBe(201)
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: null, config: null }
  expect((await push('null-index', index)).answer.status).toBe(201)
  const none = { ...image, config: null }
  expect(errorOf((await push('nulls', none)).answer).code).toBe('400 MANIFEST_INVALID')
  expect((await ask(at(digest))).headers.get('content-type')).toBe(MEDIA_TYPES.ociManifest)
})

describe('what is no right manifest', () => {
  it.each([
    ['values', `[${'{},'.repeat(1_300_000)}{}]`, 'more than 100000 values'],
    ['depth', `${'['.repeat(1000)}${']'.repeat(1000)}`, 'nested more than 64 deep'],
  ])('with too much in it: %s', async (_what, extra, why) => {
    const text = `${JSON.stringify(image).slice(0, -1)},"extra":${extra}}`
    const answer = await put('large', text)
    expect(errorOf(answer).code).toBe('400 MANIFEST_INVALID')
    expect(errorOf(answer).message).toContain(why)
  })

  it('with a digest that is not its own', async () => {
    const claimed = digestOf('other')
    const answer = await put(claimed, JSON.stringify(image))
    expect(errorOf(answer).code).toBe('400 DIGEST_INVALID')
    expect(errorOf(answer).message).toContain(claimed)
    expect(errorOf(answer).message).toContain(digestOf(JSON.stringify(image)))
    expect(errorOf(await put('sha256:baddigeststring', JSON.stringify(image))).code).toBe('400 DIGEST_INVALID')
  })

  it.each([
    ['not JSON', '{', MEDIA_TYPES.ociManifest],
    ['empty', '', MEDIA_TYPES.ociManifest],
    ['of an unknown type', '{"schemaVersion":2}', 'application/json'],
    ['of schema 1', '{"schemaVersion":1}', MEDIA_TYPES.ociManifest],
    [
      'of another type than sent',
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] }),
      MEDIA_TYPES.ociManifest,
    ],
  ])('%s', async (_what, body, contentType) => {
    expect(errorOf(await put('bad', body, contentType)).code).toBe('400 MANIFEST_INVALID')
    expect((await ask(at('bad'))).status).toBe(404)
  })

  it('under a text that is no tag', async () => {
    expect(errorOf(await put('.x', JSON.stringify(image))).code).toBe('400 TAG_INVALID')
  })

  it.each(['config', 'layers', 'manifests'])('with %s that the repository does not hold', async (where) => {
    const missing = descriptor('application/vnd.example', Buffer.from(`missing ${where}`))
    const manifest =
      where === 'config'
        ? { ...image, config: missing }
        : where === 'layers'
          ? { ...image, layers: [missing] }
          : { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [missing] }
    const { answer } = await push('missing', manifest)
    expect(errorOf(answer).code).toBe('400 MANIFEST_BLOB_UNKNOWN')
    expect(errorOf(answer).message).toContain(missing.digest)
    expect((await ask(at('missing'))).status).toBe(404)
  })

  it('but layers that are elsewhere need not be here', async () => {
    const foreign = (mediaType: string, extra: object) => ({
      ...descriptor(mediaType, Buffer.from(mediaType)),
      ...extra,
    })
    const layers = [
      foreign('application/vnd.oci.image.layer.v1.tar+gzip', { urls: ['https://example.com/layer'] }),
      foreign('application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', {}),
      foreign('application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', {}),
    ]
    expect((await push('foreign', { ...image, layers })).answer.status).toBe(201)
  })
})

describe('manifest delete', () => {
  it('of a tag leaves the manifest and its other tags', async () => {
    const { digest } = await push('t1', annotated('tags'))
    await push('t2', annotated('tags'))
    expect((await ask(at('t1'), { method: 'DELETE' })).status).toBe(202)
    expect((await ask(at('t1'))).status).toBe(404)
    expect((await ask(at('t2'))).status).toBe(200)
    expect((await ask(at(digest))).status).toBe(200)
  })

  it('by digest takes the tags that point at it, and no others', async () => {
    const { digest } = await push('gone1', annotated('gone'))
    await push('gone2', annotated('gone'))
    await push('moved-on', annotated('gone'))
    await push('moved-on', annotated('stays'))
    expect((await ask(at(digest), { method: 'DELETE' })).status).toBe(202)
    for (const reference of [digest, 'gone1', 'gone2']) expect((await ask(at(reference))).status).toBe(404)
    expect((await ask(at('moved-on'))).status).toBe(200)
    expect((await ask(at(digest), { method: 'DELETE' })).status).toBe(404)
    expect((await push('gone1', annotated('gone'))).answer.status).toBe(201)
    expect((await ask(at(digest))).status).toBe(200)
  })

  it('and blob delete are refused where they are turned off', async () => {
    const closed = await startRegistry({ delete: { enabled: false } })
    try {
      for (const path of ['/v2/app/manifests/v1', `/v2/app/blobs/${digestOf('')}`]) {
        const answer = await ask(closed.url + path, { method: 'DELETE' })
        expect(errorOf(answer).code).toBe('405 UNSUPPORTED')
        expect(errorOf(answer).message).toContain('delete.enabled')
      }
    } finally {
      await closed.dispose()
    }
  })
})

describe('what the disk holds', () => {
  it('is not served when it is damaged, and is mended by a push', async () => {
    const { digest, bytes } = await push('damaged', annotated('damaged'))
    const path = join(registry.dataDir, blobPath({ algorithm: 'sha256', hex: digest.slice(7) }))
    for (const damage of ['', 'x'.repeat(bytes.length)]) {
      await writeFile(path, damage)
      expect(errorOf(await ask(at('damaged'))).code).toBe('500 UNKNOWN')
      await push('damaged', annotated('damaged'))
      expect((await ask(at('damaged'))).bytes.equals(bytes)).toBe(true)
    }
    await rm(path)
    expect((await ask(at('damaged'))).status).toBe(404)
  })

  it('is no tag while its link is empty or not there', async () => {
    await push('half', annotated('half'))
    const link = join(registry.dataDir, tagCurrentPath('app', 'half'))
    await writeFile(link, '')
    expect((await ask(at('half'))).status).toBe(404)
    await rm(link)
    expect((await ask(at('half'))).status).toBe(404)
    expect((await ask(`${registry.url}/v2/app/tags/list`)).bytes.toString()).not.toContain('half')
  })

  it('stays whole when many push and delete the same tag at once', async () => {
    const rounds = Array.from({ length: 16 }, (_, i) => i)
    const statuses = await Promise.all(
      rounds.map(async (i) =>
        i % 4 === 3
          ? (await ask(at('busy'), { method: 'DELETE' })).status
          : (await push('busy', annotated(`busy ${i}`))).answer.status,
      ),
    )
    expect(statuses.filter((status) => ![201, 202, 404].includes(status))).toEqual([])
    await push('busy', annotated('last'))
    expect((await ask(at('busy'))).bytes.toString()).toContain('"last"')
  })
})
