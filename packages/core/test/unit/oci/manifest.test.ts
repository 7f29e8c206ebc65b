import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import {
  blobsOf,
  CoreError,
  digestOf,
  MANIFEST_BOUNDS,
  MEDIA_TYPES,
  mediaTypeOfManifest,
  parseManifest,
} from '../../../src/index.ts'

const descriptor = (content: string) => ({
  mediaType: 'application/x',
  digest: digestOf(content),
  size: content.length,
})
const image = {
  schemaVersion: 2,
  config: descriptor('config'),
  layers: [descriptor('a'), descriptor('b'), descriptor('a')],
}
const bytes = (json: unknown) => new TextEncoder().encode(JSON.stringify(json))

describe('parseManifest', () => {
  it('reads an image manifest and names each blob once', () => {
    const manifest = parseManifest(bytes({ ...image, mediaType: MEDIA_TYPES.ociManifest }))
    expect(manifest.kind).toBe('image')
    expect(blobsOf(manifest).map(({ digest }) => digest)).toEqual([digestOf('config'), digestOf('a'), digestOf('b')])
  })

  it('takes the media type from the body, the Content-Type, or the shape', () => {
    expect(parseManifest(bytes(image)).mediaType).toBe(MEDIA_TYPES.ociManifest)
    expect(parseManifest(bytes({ schemaVersion: 2, manifests: [] })).mediaType).toBe(MEDIA_TYPES.ociIndex)
    expect(parseManifest(bytes(image), `${MEDIA_TYPES.dockerManifest}; charset=utf-8`).mediaType).toBe(
      MEDIA_TYPES.dockerManifest,
    )
  })

  it('keeps subject and artifactType', () => {
    const manifest = parseManifest(bytes({ ...image, subject: descriptor('s'), artifactType: 'application/sbom' }))
    expect(manifest.subject?.digest).toBe(digestOf('s'))
    expect(manifest.artifactType).toBe('application/sbom')
  })

  it.each([
    ['no JSON', 'x'],
    ['a list', []],
    ['another schemaVersion', { ...image, schemaVersion: 1 }],
    ['a contradicting mediaType', { ...image, mediaType: MEDIA_TYPES.ociIndex }],
    ['an unknown mediaType', { ...image, mediaType: 'text/plain' }],
    ['no config', { schemaVersion: 2, layers: [] }],
    ['an index with layers', { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, layers: [] }],
    ['null for a config', { ...image, config: null }],
    ['a bad digest', { ...image, layers: [{ ...descriptor('a'), digest: 'sha256:../../etc' }] }],
    ['a negative size', { ...image, layers: [{ ...descriptor('a'), size: -1 }] }],
    ['a fractional size', { ...image, layers: [{ ...descriptor('a'), size: 1.5 }] }],
    ['annotations that are not strings', { ...image, annotations: { a: 1 } }],
  ])('refuses %s', (_what, json) => {
    expect(() => parseManifest(json === 'x' ? bytes('x').subarray(1) : bytes(json), MEDIA_TYPES.ociManifest)).toThrow(
      CoreError,
    )
  })

  it('reads null as absent', () => {
    const nulls = { mediaType: null, subject: null, artifactType: null, annotations: null, manifests: null }
    const layer = { ...descriptor('a'), annotations: { kept: 'x', dropped: null }, urls: null, platform: null }
    const manifest = parseManifest(bytes({ ...image, ...nulls, layers: [layer] }), MEDIA_TYPES.ociManifest)
    expect(manifest).toEqual({
      mediaType: MEDIA_TYPES.ociManifest,
      kind: 'image',
      config: image.config,
      layers: [{ ...descriptor('a'), annotations: { kept: 'x' } }],
      manifests: [],
    })
    for (const layers of [null, undefined]) expect(parseManifest(bytes({ ...image, layers })).layers).toEqual([])
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, config: null, layers: null }
    expect(parseManifest(bytes({ ...index, manifests: null })).manifests).toEqual([])
    expect(parseManifest(bytes(index)).kind).toBe('index')
  })

  it('refuses more values, or deeper ones, than it has room for, and says which', () => {
    const { maxDepth, maxValues } = MANIFEST_BOUNDS
    const empties = (count: number) => ({ ...image, extra: Array.from({ length: count }, () => ({})) })
    // schemaVersion, the manifest, its lists and four descriptors of three values each.
    const others = 1 + 1 + 2 + 4 * 4
    expect(parseManifest(bytes(empties(maxValues - others))).kind).toBe('image')
    const tooMany = bytes(empties(maxValues - others + 1))
    expect(() => parseManifest(tooMany)).toThrow(/more than 100000 values/)
    const nested = (depth: number) => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`) as unknown
    expect(parseManifest(bytes({ ...image, extra: nested(maxDepth - 1) })).kind).toBe('image')
    expect(() => parseManifest(bytes({ ...image, extra: nested(maxDepth) }))).toThrow(/more than 64 deep/)
    const parse = vi.spyOn(JSON, 'parse')
    expect(() => parseManifest(Buffer.from(`{"a":[${'{},'.repeat(1_300_000)}{}]}`))).toThrow(CoreError)
    expect(parse).not.toHaveBeenCalled()
    parse.mockRestore()
  })

  it('throws nothing but CoreError, whatever JSON it is given', () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        try {
          parseManifest(new TextEncoder().encode(json))
        } catch (error) {
          expect(error).toBeInstanceOf(CoreError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('mediaTypeOfManifest', () => {
  it.each([
    [{ ...image, mediaType: MEDIA_TYPES.dockerManifest }, MEDIA_TYPES.dockerManifest],
    [image, MEDIA_TYPES.ociManifest],
    [{ schemaVersion: 2, manifests: [] }, MEDIA_TYPES.ociIndex],
    [{ ...image, manifests: null, mediaType: null }, MEDIA_TYPES.ociManifest],
    [{ mediaType: 'application/vnd.oci.artifact.manifest.v1+json' }, 'application/vnd.oci.artifact.manifest.v1+json'],
    [{ schemaVersion: 1, signatures: [] }, 'application/vnd.docker.distribution.manifest.v1+prettyjws'],
    [{ schemaVersion: 1, fsLayers: [] }, 'application/vnd.docker.distribution.manifest.v1+json'],
    [{ schemaVersion: 2, mediaType: 'text/html\r\nx: y' }, MEDIA_TYPES.ociManifest],
    [{ schemaVersion: 2, inner: { mediaType: 'a/b' } }, MEDIA_TYPES.ociManifest],
    ['text', MEDIA_TYPES.ociManifest],
  ])('of %j is %s', (json, expected) => expect(mediaTypeOfManifest(bytes(json))).toBe(expected))

  it('is what parsing says, for all that can be parsed', () => {
    const types = fc.constantFrom(...Object.values(MEDIA_TYPES).slice(0, 4), null, undefined)
    const others = fc.dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 5 })
    const shapes = fc.constantFrom({ ...image }, { schemaVersion: 2, manifests: [descriptor('a')] })
    fc.assert(
      fc.property(types, others, shapes, fc.nat({ max: 2 }), (mediaType, more, shape, indent) => {
        const text = new TextEncoder().encode(JSON.stringify({ ...more, ...shape, mediaType }, null, indent))
        try {
          parseManifest(text)
        } catch {
          return
        }
        expect(mediaTypeOfManifest(text)).toBe(parseManifest(text).mediaType)
      }),
    )
  })
})
