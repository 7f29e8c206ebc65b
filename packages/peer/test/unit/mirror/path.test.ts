import { isRepositoryName } from '@shoal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseMirrorPath } from '../../../src/mirror/path.ts'
import { findUpstream } from '../../../src/mirror/upstream.ts'

const DIGEST = `sha256:${'0'.repeat(64)}`

describe('parseMirrorPath', () => {
  it.each([
    ['/v2/', { kind: 'ping' }],
    ['/v2', { kind: 'ping' }],
    ['/v2/a/manifests/latest', { kind: 'manifest', repository: 'a', reference: 'latest' }],
    [`/v2/a/b/manifests/${DIGEST}`, { kind: 'manifest', repository: 'a/b', reference: DIGEST }],
    [`/v2/manifests/blobs/blobs/${DIGEST}`, { kind: 'blob', repository: 'manifests/blobs', digest: DIGEST }],
    [`/v2/h:5000/a/blobs/${DIGEST}`, { kind: 'blob', repository: 'h:5000/a', digest: DIGEST }],
    ['/v2/a/tags/list', { kind: 'tags', repository: 'a' }],
    [`/v2/a/referrers/${DIGEST}`, { kind: 'referrers', repository: 'a', digest: DIGEST }],
    ['/v2/a/blobs/uploads/', { kind: 'unknown' }],
    ['/v2/a/manifests/-x', { kind: 'invalid', code: 'TAG_INVALID' }],
    ['/v2/a/manifests/sha256:1', { kind: 'invalid', code: 'DIGEST_INVALID' }],
    ['/v2/A/manifests/x', { kind: 'invalid', code: 'NAME_INVALID' }],
    ['/v2/../manifests/x', { kind: 'invalid', code: 'NAME_INVALID' }],
    ['/v2/_catalog', { kind: 'unknown' }],
    ['/v2//manifests/x', { kind: 'unknown' }],
    ['/x', { kind: 'unknown' }],
  ])('%s', (path, expected) => {
    expect(parseMirrorPath(path)).toMatchObject(expected)
  })

  it('never lets a bad name or digest through', () => {
    const part = fc.constantFrom('a', 'B', '..', '', 'manifests', 'blobs', 'tags', 'list', DIGEST, 'h:1', '%2e', 'x y')
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const target = parseMirrorPath(`/v2/${parts.join('/')}`)
        if (!('repository' in target)) return
        const { repository } = target
        const name = repository.split('/')[0]?.includes(':') ? repository.split('/').slice(1).join('/') : repository
        expect(isRepositoryName(name)).toBe(true)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('findUpstream', () => {
  const options = { defaultRegistry: 'docker.io', listed: new Set(['corp']) }
  it.each([
    ['app', 'quay.io', { registry: 'quay.io', repository: 'app' }],
    ['quay.io/app', undefined, { registry: 'quay.io', repository: 'app' }],
    ['127.0.0.1:5000/app', undefined, { registry: '127.0.0.1:5000', repository: 'app' }],
    ['corp/app', undefined, { registry: 'corp', repository: 'app' }],
    ['library/app', undefined, { registry: 'docker.io', repository: 'library/app' }],
    ['app', undefined, { registry: 'docker.io', repository: 'library/app' }],
    ['app', 'docker.io', { registry: 'docker.io', repository: 'library/app' }],
    ['app', 'Index.Docker.io', { registry: 'Index.Docker.io', repository: 'library/app' }],
    ['docker.io/app', undefined, { registry: 'docker.io', repository: 'library/app' }],
    ['app', 'host:65535', { registry: 'host:65535', repository: 'app' }],
    ['app', 'host:65536', undefined],
    ['app', 'host:99999', undefined],
    ['app', 'http://x', undefined],
    ['app', '', undefined],
  ])('%s with ns=%s', (repository, ns, expected) => {
    expect(findUpstream(repository, ns, options)).toEqual(expected)
  })
})
