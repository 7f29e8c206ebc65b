import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseChallenges } from '../../src/challenge.ts'

const parse = (...values: string[]) =>
  parseChallenges(values).map(({ scheme, parameters }) => ({ scheme, ...Object.fromEntries(parameters) }))

describe('parseChallenges', () => {
  it.each([
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
      [
        {
          scheme: 'bearer',
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:a/b:pull,push',
        },
      ],
    ],
    ['Basic', [{ scheme: 'basic' }]],
    ['Basic realm="a \\"quoted\\" \\\\ name"', [{ scheme: 'basic', realm: 'a "quoted" \\ name' }]],
    [
      'Negotiate, Basic realm="x" , Bearer realm=https://a.b/t',
      [{ scheme: 'negotiate' }, { scheme: 'basic', realm: 'x' }, { scheme: 'bearer', realm: 'https://a.b/t' }],
    ],
    ['Negotiate abc+/==, Basic realm=x', [{ scheme: 'negotiate' }, { scheme: 'basic', realm: 'x' }]],
    ['Bearer realm = "a" ,, service = b', [{ scheme: 'bearer', realm: 'a', service: 'b' }]],
    ['Bearer realm="first",realm="second"', [{ scheme: 'bearer', realm: 'first' }]],
    ['Basic realm="open', [{ scheme: 'basic' }]],
    ['"', []],
    ['', []],
  ])('reads %s', (value, expected) => {
    expect(parse(value)).toEqual(expected)
  })

  it('reads several header lines', () => {
    expect(parse('Basic realm=a', 'Bearer realm=b')).toEqual([
      { scheme: 'basic', realm: 'a' },
      { scheme: 'bearer', realm: 'b' },
    ])
  })

  it('is bounded', () => {
    expect(parse(Array.from({ length: 50 }, () => 'Basic').join(', '))).toHaveLength(8)
    const many = Array.from({ length: 100 }, (_, i) => `p${i}=1`).join(',')
    expect(parseChallenges([`Bearer ${many}`])[0]?.parameters.size).toBe(32)
    expect(parse('Basic', `Bearer realm="${'x'.repeat(9000)}"`)).toEqual([{ scheme: 'basic' }])
  })

  it('reads back what it is given, however it is quoted', () => {
    const token = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/)
    const text = fc.string({ unit: fc.constantFrom(...'ab ",\\=:/\t.'), maxLength: 12 })
    const challenge = fc.record({ scheme: token, parameters: fc.dictionary(token, text, { minKeys: 1, maxKeys: 5 }) })
    const quote = (value: string) => `"${value.replace(/["\\]/g, '\\$&')}"`
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 6 }), fc.constantFrom(', ', ',', ' ,\t'), (all, comma) => {
        const value = all
          .map(({ scheme, parameters }) => {
            const pairs = Object.entries(parameters).map(([name, text]) => `${name}=${quote(text)}`)
            return `${scheme} ${pairs.join(comma)}`
          })
          .join(comma)
        expect(parse(value)).toEqual(all.map(({ scheme, parameters }) => ({ scheme, ...parameters })))
      }),
    )
  })

  it('takes anything without throwing or running away', () => {
    const nasty = fc.string({ unit: fc.constantFrom(...'Bearer =,"\\ \tbasic~/'), maxLength: 300 })
    fc.assert(
      fc.property(fc.array(fc.oneof(nasty, fc.string()), { maxLength: 4 }), (values) => {
        expect(parseChallenges(values).length).toBeLessThanOrEqual(8)
      }),
    )
    const started = performance.now()
    parseChallenges([`Bearer realm="${'\\"'.repeat(4000)}`])
    parseChallenges([`Bearer ${'a=a,'.repeat(2000)}`])
    expect(performance.now() - started).toBeLessThan(200)
  })
})
