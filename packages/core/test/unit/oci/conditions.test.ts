import { describe, expect, it } from 'vitest'
import { evaluateConditions, isRangeWanted } from '../../../src/index.ts'

const ETAG = '"sha256:aa"'

describe('evaluateConditions', () => {
  it.each([
    ['"sha256:aa"', 'not-modified'],
    ['W/"sha256:aa"', 'not-modified'],
    ['sha256:aa', 'not-modified'],
    ['*', 'not-modified'],
    [' * ', 'not-modified'],
    ['"sha256:bb", "sha256:aa"', 'not-modified'],
    ['"sha256:bb",W/"sha256:aa"', 'not-modified'],
    [',, "sha256:aa",', 'not-modified'],
    ['"a,b" , "sha256:aa"', 'not-modified'],
    ['"sha256:bb"', 'met'],
    ['"sha256:bb", sha256:cc', 'met'],
    ['"x, sha256:aa"', 'met'],
    ['"sha256:aa', 'met'],
    ['', 'met'],
    [`${'"'.repeat(60_000)}`, 'met'],
    [`${' '.repeat(60_000)}"`, 'met'],
  ])('If-None-Match: %.40s', (header, expected) => {
    expect(evaluateConditions({ 'if-none-match': header }, ETAG)).toBe(expected)
  })

  it.each([
    ['"sha256:aa"', 'met'],
    ['*', 'met'],
    ['"sha256:bb", "sha256:aa"', 'met'],
    ['W/"sha256:aa"', 'failed'],
    ['"sha256:bb"', 'failed'],
  ])('If-Match: %s', (header, expected) => expect(evaluateConditions({ 'if-match': header }, ETAG)).toBe(expected))

  it('looks at If-Match first', () => {
    expect(evaluateConditions({ 'if-match': '"x"', 'if-none-match': ETAG }, ETAG)).toBe('failed')
    expect(evaluateConditions({ 'if-match': ETAG, 'if-none-match': ETAG }, ETAG)).toBe('not-modified')
  })

  it('ignores conditions on the time of change, which digests do not have', () => {
    const since = { 'if-modified-since': 'Wed, 21 Oct 2099 07:28:00 GMT' }
    expect(evaluateConditions(since, ETAG)).toBe('met')
  })
})

describe('isRangeWanted', () => {
  it.each([
    [undefined, true],
    ['"sha256:aa"', true],
    ['sha256:aa', true],
    ['W/"sha256:aa"', false],
    ['"sha256:bb"', false],
    ['*', false],
    ['Wed, 21 Oct 2015 07:28:00 GMT', false],
  ])('If-Range: %s', (header, expected) => expect(isRangeWanted(header, ETAG)).toBe(expected))
})
