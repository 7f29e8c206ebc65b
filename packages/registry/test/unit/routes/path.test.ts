import { digestOf, isRepositoryName } from '@shoal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RegistryError, toRegistryError } from '../../../src/errors.ts'
import { parsePath } from '../../../src/routes/path.ts'

const sha256 = digestOf('x')
const sha512 = digestOf('x', 'sha512')
const digest = { algorithm: 'sha256', hex: sha256.slice(7) }

/** Names that hold the API's own words, for those are what a parser stumbles over. */
const part = fc.oneof(
  fc.constantFrom('a', 'blobs', 'uploads', 'manifests', 'tags', 'list', 'referrers', 'v2', 'a.b', 'a__b', 'a---b', '0'),
  fc.stringMatching(/^[a-z0-9]{1,8}$/),
)
const name = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/'))

const codeOf = (path: string): string => {
  try {
    return parsePath(path).kind
  } catch (error) {
    return `${toRegistryError(error).status} ${toRegistryError(error).code}`
  }
}

describe('parsePath', () => {
  it.each([
    ['/v2/', { kind: 'base' }],
    ['/v2', { kind: 'base' }],
    ['/v2/_catalog', { kind: 'catalog' }],
    [`/v2/a/b/blobs/${sha256}`, { kind: 'blob', repository: 'a/b', digest }],
    [`/v2/a/blobs/${sha256.replace(':', '%3A')}`, { kind: 'blob', repository: 'a', digest }],
    ['/v2/a/blobs/uploads/', { kind: 'uploads', repository: 'a' }],
    ['/v2/a/blobs/uploads', { kind: 'uploads', repository: 'a' }],
    ['/v2/a/blobs/uploads/some-id', { kind: 'upload', repository: 'a', id: 'some-id' }],
    ['/v2/a/manifests/v1', { kind: 'manifest', repository: 'a', text: 'v1', reference: { tag: 'v1' } }],
    [`/v2/a/manifests/${sha512}`, { kind: 'manifest', repository: 'a', text: sha512, reference: { digest: sha512 } }],
    ['/v2/a/manifests/.no', { kind: 'manifest', repository: 'a', text: '.no', reference: undefined }],
    ['/v2/a/tags/list', { kind: 'tags', repository: 'a' }],
    [`/v2/a/referrers/${sha256}`, { kind: 'referrers', repository: 'a', digest }],
  ])('reads %s', (path, route) => {
    expect(parsePath(path)).toEqual(route)
  })

  it.each([
    ['/v2/A/tags/list', '400 NAME_INVALID'],
    ['/v2/a//b/tags/list', '400 NAME_INVALID'],
    ['/v2/../tags/list', '400 NAME_INVALID'],
    ['/v2/a/%2e%2e/manifests/x', '400 NAME_INVALID'],
    ['/v2/_uploads/tags/list', '400 NAME_INVALID'],
    ['/v2/tags/list', '400 NAME_INVALID'],
    [`/v2/${'a'.repeat(256)}/tags/list`, '400 NAME_INVALID'],
    ['/v2/a%/tags/list', '400 NAME_INVALID'],
    ['/v2/a/blobs/sha256:12', '400 DIGEST_INVALID'],
    [`/v2/a/blobs/${sha256.toUpperCase()}`, '400 DIGEST_INVALID'],
    ['/v2/a/manifests/sha256:12', '400 DIGEST_INVALID'],
    ['/v2/a/referrers/v1', '400 DIGEST_INVALID'],
    ['/v2/a/tags', '404 UNSUPPORTED'],
    ['/v2/a/tags/all', '404 UNSUPPORTED'],
    ['/v2/a', '404 UNSUPPORTED'],
    ['/', '404 UNSUPPORTED'],
    ['/v1/a/tags/list', '404 UNSUPPORTED'],
  ])('refuses %s', (path, code) => {
    expect(codeOf(path)).toBe(code)
  })

  it('finds the repository of every path that the API has, whatever words are in the name', () => {
    const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,40}$/)
    fc.assert(
      fc.property(name, tag, (repository, text) => {
        expect(parsePath(`/v2/${repository}/manifests/${text}`)).toMatchObject({ kind: 'manifest', repository, text })
        expect(parsePath(`/v2/${repository}/blobs/${sha256}`)).toMatchObject({ kind: 'blob', repository })
        expect(parsePath(`/v2/${repository}/blobs/uploads/`)).toEqual({ kind: 'uploads', repository })
        expect(parsePath(`/v2/${repository}/blobs/uploads/${text}`)).toEqual({ kind: 'upload', repository, id: text })
        expect(parsePath(`/v2/${repository}/tags/list`)).toEqual({ kind: 'tags', repository })
        expect(parsePath(`/v2/${repository}/referrers/${sha512}`)).toMatchObject({ kind: 'referrers', repository })
      }),
    )
  })

  it('answers any text with a route whose repository is a name, or with a client error', () => {
    const piece = fc.oneof(part, fc.constantFrom('', '..', '.', '%2F', '%00', '_manifests', sha256, '\\'), fc.string())
    const path = fc.array(piece, { maxLength: 8 }).map((pieces) => `/v2/${pieces.join('/')}`)
    fc.assert(
      fc.property(path, (text) => {
        try {
          const route = parsePath(text)
          if ('repository' in route) expect(isRepositoryName(route.repository)).toBe(true)
        } catch (error) {
          const { status } = toRegistryError(error)
          expect(error instanceof RegistryError || status === 400).toBe(true)
          expect([400, 404]).toContain(status)
        }
      }),
      { numRuns: 1000 },
    )
  })
})
