import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { blobsOf, CoreError, digestOf, MEDIA_TYPES, parseManifest } from '../../../src/index.ts'

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
    ['no layers', { schemaVersion: 2, config: image.config }],
    ['a bad digest', { ...image, layers: [{ ...descriptor('a'), digest: 'sha256:../../etc' }] }],
    ['a negative size', { ...image, layers: [{ ...descriptor('a'), size: -1 }] }],
    ['a fractional size', { ...image, layers: [{ ...descriptor('a'), size: 1.5 }] }],
    ['annotations that are not strings', { ...image, annotations: { a: 1 } }],
  ])('refuses %s', (_what, json) => {
    expect(() => parseManifest(json === 'x' ? bytes('x').subarray(1) : bytes(json), MEDIA_TYPES.ociManifest)).toThrow(
      CoreError,
    )
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
