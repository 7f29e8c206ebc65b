import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Proxies, proxyRules } from '../../src/proxies.ts'

describe('the proxy for a request', () => {
  const rules = proxyRules({ HTTPS_PROXY: 'http://s:1', http_proxy: 'p:2', NO_PROXY: 'x' })
  const of = (url: string, none?: string) =>
    new Proxies(none === undefined ? rules : { ...rules, none }).of(new URL(url))?.href

  it('is that of its scheme, in either case, with or without http:// before it', () => {
    expect(of('https://r.example/')).toBe('http://s:1/')
    expect(of('http://r.example/')).toBe('http://p:2/')
    expect(new Proxies(proxyRules({})).of(new URL('https://r.example/'))).toBeUndefined()
    expect(new Proxies(proxyRules({ HTTPS_PROXY: '' })).of(new URL('https://r.example/'))).toBeUndefined()
    expect(proxyRules({ HTTPS_PROXY: 'http://upper', https_proxy: 'http://lower', no_proxy: 'a' })).toEqual({
      https: 'http://upper/',
      none: 'a',
    })
  })

  it.each(['https://localhost:5000/', 'http://127.3.4.5/', 'https://[::1]/', 'https://a.localhost/'])(
    'is none for this machine: %s',
    (url) => {
      expect(of(url)).toBeUndefined()
    },
  )

  it.each([
    ['*', 'https://r.example/', true],
    ['r.example', 'https://r.example/', true],
    ['R.Example', 'https://r.example./', true],
    ['r.example', 'https://sub.r.example/', true],
    ['r.example', 'https://other.example/', false],
    ['r.example', 'https://bar.example/', false],
    ['.r.example', 'https://sub.r.example/', true],
    ['*.r.example', 'https://sub.r.example/', true],
    ['r.example:5000', 'https://r.example:5000/', true],
    ['r.example:5000', 'https://r.example/', false],
    ['r.example:443', 'https://r.example/', true],
    ['r.example:80', 'http://r.example/', true],
    ['10.0.0.0/8', 'https://10.1.2.3:5000/', true],
    ['10.0.0.0/8', 'https://11.1.2.3/', false],
    ['10.0.0.0/8', 'https://r.example/', false],
    ['fd00::/8', 'https://[fd12::1]/', true],
    ['fd00::/8', 'https://[2001:4860::1]/', false],
    ['10.1.2.3', 'https://10.1.2.3/', true],
    ['10.1.2.3:5000', 'https://10.1.2.3:5001/', false],
    ['[fd12:0::1]', 'https://[fd12::1]:5000/', true],
    ['fd12:0::1', 'https://[fd12::1]/', true],
    ['[fd12::1]:5000', 'https://[fd12::1]:5001/', false],
    ['a, r.example ,b', 'https://r.example/', true],
    ['', 'https://r.example/', false],
    ['10.0.0.0/99', 'https://10.0.0.1/', false],
  ])('NO_PROXY=%s and %s: direct %s', (none, url, isDirect) => {
    expect(of(url, none) === undefined).toBe(isDirect)
  })

  it('takes any NO_PROXY', () => {
    fc.assert(fc.property(fc.string(), (none) => void of('https://r.example/', none)))
  })

  it.each(['socks5://u:secret@s:1', 'http://', 'http://u:secret@', '::'])('can not be %s', (HTTPS_PROXY) => {
    expect(() => proxyRules({ HTTPS_PROXY })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.not.stringContaining('secret') }),
    )
  })
})
