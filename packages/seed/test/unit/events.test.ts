import { digestOf, MEDIA_TYPES } from '@shoal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { pushedManifests } from '../../src/events.ts'

const digest = digestOf('manifest')
const target = { mediaType: MEDIA_TYPES.ociManifest, repository: 'lib/app', digest, size: 8 }
const read = (...events: unknown[]) => pushedManifests(Buffer.from(JSON.stringify({ events })))

describe('pushed manifests of an envelope', () => {
  it('are those pushed, each once, whatever else is told', () => {
    const push = { action: 'push', target }
    const blob = { action: 'push', target: { ...target, mediaType: 'application/octet-stream' } }
    const untagged = { action: 'delete', target: { repository: 'lib/app', tag: 'v1' } }
    const events = [push, blob, untagged, { action: 'pull', target }, { ...push, actor: { name: 'x' } }]
    expect(read(...events)).toEqual([{ repository: 'lib/app', digest }])
  })

  it.each([
    { action: 'push' },
    { action: 'push', target: { ...target, repository: '../etc' } },
    { action: 'push', target: { ...target, digest: 'sha256:12' } },
    { action: 'push', target: { ...target, digest: undefined } },
  ])('are not read from %j', (event) => {
    expect(() => read(event)).toThrow('not an envelope')
  })

  it('are not read from bytes that are no envelope', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(() => pushedManifests(bytes)).toThrow('not an envelope')
      }),
    )
    expect(() => read(...Array(101).fill({ action: 'pull', target }))).toThrow('not an envelope')
  })
})
