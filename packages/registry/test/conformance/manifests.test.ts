import { digestOf, MEDIA_TYPES } from '@shoal/core'
import { describe, expect, it } from 'vitest'
import { artifact, DATA_SETS, type DataSet, descriptorOf, image, index, type Pushed } from './data-sets.ts'
import { codesOf, locationOf, newRepository, useTarget } from './target.ts'

const target = useTarget()
const EVERY: readonly [string, DataSet][] = Object.entries(DATA_SETS)

async function expectPulled(path: string, { digest, bytes, mediaType }: Pushed): Promise<void> {
  const headers = { accept: mediaType }
  const head = await target('HEAD', path, { headers })
  expect([head.status, head.bytes.length, head.headers.get('content-length')]).toEqual([200, 0, String(bytes.length)])
  const pulled = await target('GET', path, { headers })
  expect([pulled.status, pulled.bytes.equals(bytes)]).toEqual([200, true])
  for (const answer of [head, pulled]) {
    expect(answer.headers.get('content-type')).toBe(mediaType)
    expect(answer.headers.get('docker-content-digest')).toBe(digest)
  }
  const etag = pulled.headers.get('etag') ?? ''
  expect((await target('GET', path, { headers: { ...headers, 'if-none-match': etag } })).status).toBe(304)
}

describe('end-7, end-3, end-9: a manifest', () => {
  it.each(EVERY)('(%s) is pushed by digest, pulled as it is, and deleted', async (_name, push) => {
    const repository = newRepository()
    const pushed = await push(target, repository)
    const path = `/v2/${repository}/manifests/${pushed.digest}`
    await expectPulled(path, pushed)
    expect((await target('DELETE', path)).status).toBe(202)
    const gone = await target('GET', path)
    expect([gone.status, codesOf(gone)]).toEqual([404, ['MANIFEST_UNKNOWN']])
    expect((await target('HEAD', path)).status).toBe(404)
    expect((await target('DELETE', path)).status).toBe(404)
  })

  it.each(EVERY.filter(([name]) => !name.includes('sha512')))(
    '(%s) is pushed by tag, found by both, and its tag deleted',
    async (_name, push) => {
      const repository = newRepository()
      const pushed = await push(target, repository, 'v1')
      const [byTag, byDigest] = ['v1', pushed.digest].map((reference) => `/v2/${repository}/manifests/${reference}`)
      for (const path of [byTag, byDigest]) await expectPulled(path as string, pushed)
      expect((await target('DELETE', byTag as string)).status).toBe(202)
      expect((await target('GET', byTag as string)).status).toBe(404)
      await expectPulled(byDigest as string, pushed)
    },
  )

  it('says where it is, and that it took the subject into account', async () => {
    const repository = newRepository()
    const subject = await image('subject')(target, repository)
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociIndex,
        manifests: [],
        subject: descriptorOf(subject),
      }),
    )
    const answer = await target('PUT', `/v2/${repository}/manifests/${digestOf(bytes)}`, {
      body: bytes,
      headers: { 'content-type': MEDIA_TYPES.ociIndex },
    })
    expect([answer.status, answer.headers.get('oci-subject')]).toEqual([201, subject.digest])
    expect(answer.headers.get('docker-content-digest')).toBe(digestOf(bytes))
    expect((await target('GET', locationOf(answer))).bytes.equals(bytes)).toBe(true)
  })

  it('pushed by digest takes tags along, ten at least, and too many are refused', async () => {
    const repository = newRepository()
    const { bytes, digest, mediaType } = await image('tags')(target, repository)
    const put = (tags: readonly string[]) =>
      target('PUT', `/v2/${repository}/manifests/${digest}?${tags.map((tag) => `tag=${tag}`).join('&')}`, {
        body: bytes,
        headers: { 'content-type': mediaType },
      })
    const tags = Array.from({ length: 10 }, (_, i) => `tag-${i}`)
    const answer = await put(tags)
    expect([answer.status, answer.headers.get('oci-tag')?.split(/, */)]).toEqual([201, tags])
    for (const tag of tags) expect((await target('HEAD', `/v2/${repository}/manifests/${tag}`)).status).toBe(200)
    expect((await put(Array.from({ length: 200 }, (_, i) => `more-${i}`))).status).toBe(414)
  })

  it('moves a tag, and what the tag was stays', async () => {
    const repository = newRepository()
    const [before, after] = [
      await image('before')(target, repository, 'v1'),
      await image('after')(target, repository, 'v1'),
    ]
    await expectPulled(`/v2/${repository}/manifests/v1`, after)
    await expectPulled(`/v2/${repository}/manifests/${before.digest}`, before)
  })

  it('deleted by digest takes its tags with it', async () => {
    const repository = newRepository()
    const gone = await image('gone')(target, repository, 'a')
    const kept = await image('kept')(target, repository, 'b')
    expect((await target('DELETE', `/v2/${repository}/manifests/${gone.digest}`)).status).toBe(202)
    expect((await target('GET', `/v2/${repository}/manifests/a`)).status).toBe(404)
    await expectPulled(`/v2/${repository}/manifests/b`, kept)
  })

  it('with a digest of other bytes is refused', async () => {
    const repository = newRepository()
    const { bytes, mediaType } = await image('digest')(target, repository)
    for (const digest of [digestOf('other'), digestOf('other', 'sha512')]) {
      const answer = await target('PUT', `/v2/${repository}/manifests/${digest}`, {
        body: bytes,
        headers: { 'content-type': mediaType },
      })
      expect([answer.status, codesOf(answer)]).toEqual([400, ['DIGEST_INVALID']])
    }
  })

  it('that is none is refused', async () => {
    const repository = newRepository()
    const put = (body: string) =>
      target('PUT', `/v2/${repository}/manifests/v1`, { body, headers: { 'content-type': MEDIA_TYPES.ociManifest } })
    for (const body of ['', 'no JSON', '[]', '{"schemaVersion": 1}', '{"schemaVersion": 2, "layers": 1}']) {
      const answer = await put(body)
      expect([body, answer.status, codesOf(answer)]).toEqual([body, 400, ['MANIFEST_INVALID']])
    }
  })

  it('of more than the registry takes is refused with 413', async () => {
    const body = JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: [],
      annotations: { large: 'x'.repeat(5_000_000) },
    })
    const answer = await target('PUT', `/v2/${newRepository()}/manifests/v1`, {
      body,
      headers: { 'content-type': MEDIA_TYPES.ociIndex },
    })
    expect(answer.status).toBe(413)
  })

  it('that needs what is not there is refused, a subject excepted', async () => {
    const repository = newRepository()
    const absent = { mediaType: 'application/octet-stream', digest: digestOf('absent'), size: 6 }
    await expect(image('layers', { layers: [absent] })(target, repository)).rejects.toThrow('MANIFEST_BLOB_UNKNOWN')
    await expect(image('config', { config: absent })(target, repository)).rejects.toThrow('MANIFEST_BLOB_UNKNOWN')
    const child = { ...absent, mediaType: MEDIA_TYPES.ociManifest }
    await expect(index([], { manifests: [child] })(target, repository)).rejects.toThrow('MANIFEST_BLOB_UNKNOWN')
    await artifact('subject', { subject: child })(target, repository)
  })

  it.each(['.dot', '-dash', 'a'.repeat(129), 'a+b', 'ü'])(
    'is not found or tagged by "%s", which is no tag',
    async (tag) => {
      const repository = newRepository()
      const { bytes, mediaType } = await image('names')(target, repository)
      const path = `/v2/${repository}/manifests/${encodeURIComponent(tag)}`
      expect([400, 404]).toContain((await target('GET', path)).status)
      expect([400, 404]).toContain(
        (await target('PUT', path, { body: bytes, headers: { 'content-type': mediaType } })).status,
      )
    },
  )

  it.each(['a', 'A_b.c-9', '_', '9'.repeat(128)])('is found by "%s", which is one', async (tag) => {
    const repository = newRepository()
    await expectPulled(`/v2/${repository}/manifests/${tag}`, await image('names')(target, repository, tag))
  })

  it.each(['a', 'a/b', 'a.b_c__d-e--f/0'])('is held by a repository %s', async (name) => {
    const repository = `${newRepository()}/${name}`
    await expectPulled(`/v2/${repository}/manifests/v1`, await image('names')(target, repository, 'v1'))
  })
})

describe('what Docker adds', () => {
  it('every answer names the API, errors too', async () => {
    for (const path of ['/v2/', `/v2/${newRepository()}/manifests/none`, '/v2/none']) {
      expect((await target('GET', path)).headers.get('docker-distribution-api-version')).toBe('registry/2.0')
    }
  })

  it('a list is given as it is to a client that did not ask for one', async () => {
    // Distribution chooses linux/amd64 for clients from before 2017, so that the digest is not that of the tag.
    const repository = newRepository()
    const list = await (DATA_SETS["Docker's list"] as DataSet)(target, repository, 'v1')
    for (const accept of [MEDIA_TYPES.dockerManifest, '*/*']) {
      const { status, headers } = await target('GET', `/v2/${repository}/manifests/v1`, { headers: { accept } })
      expect([status, headers.get('docker-content-digest')]).toEqual([200, list.digest])
    }
  })

  it('a method that is not there is refused with those that are', async () => {
    const answer = await target('POST', `/v2/${newRepository()}/manifests/v1`)
    expect([answer.status, codesOf(answer)]).toEqual([405, ['UNSUPPORTED']])
    expect(answer.headers.get('allow')?.split(', ').sort()).toEqual(['DELETE', 'GET', 'HEAD', 'PUT'])
  })
})
