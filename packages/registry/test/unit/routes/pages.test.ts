import { describe, expect, it } from 'vitest'
import { nextPageLink, parsePage } from '../../../src/routes/pages.ts'

const limits = { usual: 100, most: 1000, above: 'refuse' } as const

describe('pages', () => {
  it.each([
    ['', { limit: 100, last: undefined }],
    ['n=0', { limit: 0, last: undefined }],
    ['n=1000&last=a%2Fb', { limit: 1000, last: 'a/b' }],
    ['last=', { limit: 100, last: undefined }],
  ])('reads "%s"', (query, page) => {
    expect(parsePage(new URLSearchParams(query), limits)).toEqual(page)
  })

  it.each(['n=-1', 'n=x', 'n=1.5', 'n=1001', 'n=99999999999'])('refuses "%s"', (query) => {
    expect(() => parsePage(new URLSearchParams(query), limits)).toThrow('write a whole number from 0 to 1000')
  })

  it('clamps where it is told to', () => {
    expect(parsePage(new URLSearchParams('n=5000'), { ...limits, above: 'clamp' }).limit).toBe(1000)
  })

  it('escapes what a link carries', () => {
    expect(nextPageLink('/v2/_catalog', { n: '1', last: 'a/b&c' })).toBe(
      '</v2/_catalog?n=1&last=a%2Fb%26c>; rel="next"',
    )
  })
})
