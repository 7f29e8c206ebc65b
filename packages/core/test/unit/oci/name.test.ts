import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  isRegistryHost,
  isRepositoryName,
  isTag,
  parseImageReference,
  ShoalError,
  tryParseManifestReference,
} from '../../../src/index.ts'

const HEX = 'a'.repeat(64)

describe('names', () => {
  it.each(['a', 'library/busybox', 'a__b/c-d.e', 'a--b', 'x/y/z'])('%s is a repository name', (name) => {
    expect(isRepositoryName(name)).toBe(true)
  })

  it.each(['', 'A', 'a/', '/a', 'a//b', 'a..b', 'a_-b', '-a', 'a b', '../a', 'a/../b', 'a'.repeat(256)])(
    '%s is not a repository name',
    (name) => {
      expect(isRepositoryName(name)).toBe(false)
    },
  )

  it.each(['latest', '_', 'v1.2-3', 'A', 'x'.repeat(128)])('%s is a tag', (tag) => expect(isTag(tag)).toBe(true))
  it.each(['', '.a', '-a', 'a b', 'a/b', 'x'.repeat(129)])('%s is not a tag', (tag) => expect(isTag(tag)).toBe(false))

  it.each(['docker.io', 'localhost:5000', '127.0.0.1:5000', '[::1]:5000'])('%s is a registry', (host) =>
    expect(isRegistryHost(host)).toBe(true),
  )
  it.each(['', 'a/b', 'http://a', 'a:b', 'a@b', '-a', 'a..b'])('%s is not a registry', (host) =>
    expect(isRegistryHost(host)).toBe(false),
  )

  it('never takes long over a name', () => {
    const began = performance.now()
    isRepositoryName(`${'a-'.repeat(127)}!`)
    isRepositoryName(`${'a'.repeat(254)}!`)
    isRegistryHost(`${'a.'.repeat(130)}!`)
    expect(performance.now() - began).toBeLessThan(50)
  })

  it('a manifest reference is a digest or a tag', () => {
    expect(tryParseManifestReference(`sha256:${HEX}`)).toEqual({ digest: `sha256:${HEX}` })
    expect(tryParseManifestReference('v1')).toEqual({ tag: 'v1' })
    expect(tryParseManifestReference(`sha256:${HEX}0`)).toBeUndefined()
  })
})

describe('parseImageReference', () => {
  it.each([
    ['busybox', { registry: 'docker.io', repository: 'library/busybox', tag: 'latest' }],
    ['org/app:1', { registry: 'docker.io', repository: 'org/app', tag: '1' }],
    ['quay.io/org/app', { registry: 'quay.io', repository: 'org/app', tag: 'latest' }],
    ['localhost/app', { registry: 'localhost', repository: 'app', tag: 'latest' }],
    ['127.0.0.1:5000/app:1', { registry: '127.0.0.1:5000', repository: 'app', tag: '1' }],
    [`h:1/a/b@sha256:${HEX}`, { registry: 'h:1', repository: 'a/b', digest: { algorithm: 'sha256', hex: HEX } }],
    [
      `h:1/a:t@sha256:${HEX}`,
      { registry: 'h:1', repository: 'a', tag: 't', digest: { algorithm: 'sha256', hex: HEX } },
    ],
  ])('%s', (text, expected) => {
    expect(parseImageReference(text)).toEqual(expected)
  })

  it.each(['', 'A', 'a:', 'a@b', 'a@@b', 'http://h/a', 'h:1/', 'a:b:c', `a@sha256:${'g'.repeat(64)}`])(
    'refuses "%s"',
    (text) => {
      expect(() => parseImageReference(text)).toThrow(ShoalError)
    },
  )

  it('throws nothing else, whatever it is given', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 400 }), (text) => {
        try {
          parseImageReference(text)
        } catch (error) {
          expect(error).toBeInstanceOf(ShoalError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})
