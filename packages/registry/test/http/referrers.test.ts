import { digestOf, MEDIA_TYPES } from '@shoal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
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
let subject: { readonly mediaType: string; readonly size: number; readonly digest: string }
const empty = Buffer.from('{}')
beforeAll(async () => {
  registry = await startRegistry()
  const { digest, bytes } = await pushManifest(
    registry.url,
    'app',
    'v1',
    await pushImageBlobs(registry.url, 'app', 'a'),
  )
  subject = descriptor(MEDIA_TYPES.ociManifest, bytes, digest)
  await pushBlob(registry.url, 'app', empty)
})
afterAll(() => registry.dispose())

interface Index {
  readonly schemaVersion: number
  readonly mediaType: string
  readonly manifests: { readonly digest: string; readonly artifactType?: string }[]
}

const list = async (digest: string, query = '', repository = 'app') => {
  const answer = await ask(`${registry.url}/v2/${repository}/referrers/${digest}${query}`)
  return { answer, index: JSON.parse(answer.bytes.toString()) as Index }
}
const artifact = (change: object) => ({
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociManifest,
  config: descriptor(MEDIA_TYPES.ociEmpty, empty),
  layers: [descriptor(MEDIA_TYPES.ociEmpty, empty)],
  subject,
  ...change,
})
const push = async (manifest: object) => {
  const reference = digestOf(JSON.stringify(manifest))
  const pushed = await pushManifest(registry.url, 'app', reference, manifest)
  expect(pushed.answer.status).toBe(201)
  return pushed
}

describe('referrers', () => {
  it('are an empty index where nothing refers, whatever the repository', async () => {
    for (const repository of ['app', 'unknown']) {
      const { answer, index } = await list(digestOf('nothing'), '', repository)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-type')).toBe(MEDIA_TYPES.ociIndex)
      expect(answer.headers.get('oci-filters-applied')).toBeNull()
      expect(index).toEqual({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] })
    }
  })

  it('of what is no digest are refused', async () => {
    expect(errorOf(await ask(`${registry.url}/v2/app/referrers/v1`)).code).toBe('400 DIGEST_INVALID')
  })

  it('appear with the push, are filtered by type, and go with the delete', async () => {
    const signature = await push(artifact({ artifactType: 'application/vnd.sig', annotations: { by: 'me' } }))
    const oldStyle = await push(artifact({ config: descriptor('application/vnd.sbom', empty) }))
    const index = await push({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [], subject })
    for (const { answer } of [signature, oldStyle, index]) {
      expect(answer.headers.get('oci-subject')).toBe(subject.digest)
    }
    const expected = [
      {
        ...descriptor(MEDIA_TYPES.ociManifest, signature.bytes),
        artifactType: 'application/vnd.sig',
        annotations: { by: 'me' },
      },
      { ...descriptor(MEDIA_TYPES.ociManifest, oldStyle.bytes), artifactType: 'application/vnd.sbom' },
      descriptor(MEDIA_TYPES.ociIndex, index.bytes),
    ].sort((a, b) => (a.digest < b.digest ? -1 : 1))
    expect((await list(subject.digest)).index.manifests).toEqual(expected)

    const filtered = await list(subject.digest, '?artifactType=application/vnd.sbom')
    expect(filtered.answer.headers.get('oci-filters-applied')).toBe('artifactType')
    expect(filtered.index.manifests.map(({ digest }) => digest)).toEqual([oldStyle.digest])
    expect((await list(subject.digest, '?artifactType=none')).index.manifests).toEqual([])
    expect((await list(subject.digest, '', 'other')).index.manifests).toEqual([])

    await ask(`${registry.url}/v2/app/manifests/${signature.digest}`, { method: 'DELETE' })
    const left = (await list(subject.digest)).index.manifests.map(({ digest }) => digest)
    expect(left).toEqual(expected.map(({ digest }) => digest).filter((digest) => digest !== signature.digest))
    await push(artifact({ artifactType: 'application/vnd.sig', annotations: { by: 'me' } }))
    expect((await list(subject.digest)).index.manifests).toEqual(expected)
  })

  it('may come before their subject, and outlive it', async () => {
    const later = descriptor(MEDIA_TYPES.ociManifest, content('not pushed', 10))
    const { digest, answer } = await push(artifact({ subject: later }))
    expect(answer.headers.get('oci-subject')).toBe(later.digest)
    expect((await list(later.digest)).index.manifests.map((each) => each.digest)).toEqual([digest])
  })

  it('that do not fit into one answer come in pages', async () => {
    const of = descriptor(MEDIA_TYPES.ociManifest, content('much referred to', 10))
    const pushed: string[] = []
    for (let i = 0; i < 3; i++) {
      pushed.push((await push(artifact({ subject: of, annotations: { large: `${i}`.repeat(2_000_000) } }))).digest)
    }
    const seen: string[] = []
    let pages = 0
    for (let path: string | undefined = `/v2/app/referrers/${of.digest}`; path !== undefined; pages++) {
      const answer: Awaited<ReturnType<typeof ask>> = await ask(registry.url + path)
      seen.push(...(JSON.parse(answer.bytes.toString()) as Index).manifests.map(({ digest }) => digest))
      path = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1]
    }
    expect(pages).toBe(2)
    expect(seen).toEqual(pushed.sort())
  })
})
