import { matchesGlob } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileGlob, compileRegex } from '../../src/patterns.ts'

describe('a regular expression of the configuration', () => {
  it('is for the whole text', () => {
    const pattern = compileRegex('v\\d+|b', 'x')
    expect(['v1', 'b', 'v1b', 'av1', 'v'].map((text) => pattern.matches(text))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ])
  })

  it('takes no more time for a text that a backtracking matcher never ends with', () => {
    expect(compileRegex('(v?[0-9]+[.-]?)+-release', 'x').matches('1'.repeat(128))).toBe(false)
    expect(compileRegex('(a*)*b', 'x').matches('a'.repeat(128))).toBe(false)
  })

  it.each(['(?=a)b', '(?<!a)b', '(a)\\1', '[', 'a{1001}', '(a{100}){100}'])('%s is refused with why', (pattern) => {
    expect(() => compileRegex(pattern, 'retention.policies[0]')).toThrow(
      `retention.policies[0]: "${pattern}" is not a regular expression that can be used: `,
    )
  })
})

describe('a glob of the configuration', () => {
  it.each([
    ['ci/**', ['ci/a', 'ci/a/b'], ['ci', 'cia/b', 'x/ci/a']],
    ['**', ['a', 'a/b/c'], []],
    ['*', ['a'], ['a/b']],
    ['**/app', ['app', 'a/app', 'a/b/app'], ['a/xapp', 'app/b']],
    ['a/**/b', ['a/b', 'a/x/b', 'a/x/y/b'], ['ab', 'a/b/c']],
    ['team-?/{web,api}/*', ['team-a/web/x', 'team-b/api/y'], ['team-a/db/x', 'team-ab/web/x', 'team-a/web/x/y']],
    ['[a-c]*/v[!0-9]', ['b1/vx'], ['d/vx', 'a/v1']],
    ['docker.io/**', ['docker.io/library/nginx'], ['dockerxio/library/nginx']],
  ])('%s', (glob, yes, no) => {
    const pattern = compileGlob(glob, 'x')
    for (const name of yes) expect([name, pattern.matches(name)]).toEqual([name, true])
    for (const name of no) expect([name, pattern.matches(name)]).toEqual([name, false])
  })

  it.each(['+(a|b)', '!(a)', 'a\\*', '{a', 'a}', '[a', 'a]'])('%s is refused with what there is', (glob) => {
    expect(() => compileGlob(glob, 'quotas[0]')).toThrow(`quotas[0]: "${glob}" is not a glob that can be used`)
  })

  it('means what it means elsewhere', () => {
    const part = fc.constantFrom('*', 'a', 'b', 'a*', '*b', '?', '[ab]', '[!a]b', '{a,b}', 'a.b', 'a{b,*}', '*a*')
    const glob = fc
      .array(fc.oneof(part, fc.constant('**')), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.join('/'))
    const name = fc
      .array(fc.constantFrom('a', 'b', 'ab', 'aab', 'a.b', 'axb', 'bb'), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.join('/'))
    fc.assert(
      fc.property(glob, name, (pattern, text) => {
        expect([pattern, text, compileGlob(pattern, 'x').matches(text)]).toEqual([
          pattern,
          text,
          matchesGlob(text, pattern),
        ])
      }),
      { numRuns: 5000 },
    )
  })

  it('takes no more time for a name that a backtracking matcher never ends with', () => {
    expect(compileGlob(`${'*a'.repeat(100)}b`, 'x').matches('a'.repeat(255))).toBe(false)
  })
})
