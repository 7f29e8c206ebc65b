import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isPrivateAddress, isPrivateHost } from '../../src/address.ts'
import { parseContentRange, parseUnsatisfiedRange } from '../../src/content-range.ts'
import { basicUsername } from '../../src/credentials.ts'
import { Endpoints } from '../../src/endpoint.ts'
import { OriginError, originError, statusError } from '../../src/errors.ts'
import { LruMap } from '../../src/lru.ts'
import { mayReceiveCredentials } from '../../src/realm.ts'
import { hopRefusal } from '../../src/redirect.ts'
import { parseRetryAfter, retryDelayMs } from '../../src/retry.ts'
import type { OriginSettings } from '../../src/service/options.ts'
import { parseTokenAnswer } from '../../src/tokens.ts'

const SUBJECT = { registry: 'r.example', repository: 'a/b' }
const codeOf = (run: () => unknown) => {
  try {
    run()
  } catch (error) {
    return (error as OriginError).code
  }
  return undefined
}

describe('content ranges', () => {
  it('reads what it formats', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(), (start, more, rest) => {
        const end = start + more
        const total = end + 1 + rest
        expect(parseContentRange(`bytes ${start}-${end}/${total}`)).toEqual({ start, end, total })
        expect(parseUnsatisfiedRange(`bytes */${total}`)).toBe(total)
      }),
    )
  })

  it('knows an unknown total, and refuses nonsense', () => {
    expect(parseContentRange('bytes 0-4/*')).toEqual({ start: 0, end: 4, total: undefined })
    for (const text of [
      'bytes 5-4/10',
      'bytes 0-10/10',
      'bytes 0-4',
      'items 0-4/10',
      '0-4/10',
      'bytes */10',
      '',
      undefined,
    ])
      expect(parseContentRange(text)).toBeUndefined()
    fc.assert(fc.property(fc.string(), (text) => void parseContentRange(text)))
  })
})

describe('which registry is where', () => {
  const resolve = (registry: string, origins: Record<string, OriginSettings> = {}, allowUnlisted = true) =>
    new Endpoints({ origins, allowUnlisted }).resolve(registry)

  it.each([
    ['docker.io', 'https://registry-1.docker.io/'],
    ['index.docker.io', 'https://registry-1.docker.io/'],
    ['ghcr.io', 'https://ghcr.io/'],
    ['GHCR.io:8443', 'https://ghcr.io:8443/'],
  ])('%s is %s', (registry, url) => {
    expect(resolve(registry).base.href).toBe(url)
  })

  it.each([
    '127.0.0.1:5000',
    '10.0.0.1',
    '[::1]:5000',
    'localhost',
    'LOCALHOST:5000',
    'a.localhost',
    // Names that URL reads as IPv4 addresses.
    '2130706433',
    '0x7f000001',
    '127.1',
    '0177.0.0.1',
    'user@host',
    'host/path',
    'evil.example#',
    'host:99999',
    '1.2.3.4.5',
    '[:::]',
  ])('refuses %s unless it is listed', (registry) => {
    expect(codeOf(() => resolve(registry))).toBe('NOT_ALLOWED')
  })

  it('says how to list a registry', () => {
    expect(() => resolve('10.0.0.1:5000')).toThrow(/origins: \{"10\.0\.0\.1:5000": \{url: /)
    expect(() => resolve('ghcr.io', {}, false)).toThrow(/only listed registries/)
  })

  it('takes the listed url, with a path', () => {
    const origins = { 'Registry.Corp': { url: 'http://10.1.2.3:5000/prefix/' } }
    expect(resolve('registry.corp', origins, false).base.href).toBe('http://10.1.2.3:5000/prefix')
  })

  it.each([
    ['docker.io', {}, undefined],
    ['docker.io', { url: 'https://registry-1.docker.io' }, undefined],
    ['ghcr.io', { url: 'https://GHCR.io/' }, undefined],
    ['docker.io', { url: 'http://cache.corp:5000' }, 'docker.io'],
  ])('a cache that stands in for %s at %o is told whom it stands in for: %s', (registry, settings, namespace) => {
    expect(resolve(registry, { [registry]: settings }).namespace).toBe(namespace)
  })

  it.each([
    { url: 'ftp://x' },
    { url: 'nonsense' },
    { url: 'https://user:secret@x' },
    { url: 'https://x?secret' },
    { username: 'u' },
    { username: 'u:v', password: 'p' },
  ])('refuses settings %o without repeating secrets', (settings) => {
    expect(() => new Endpoints({ origins: { 'a.b': settings }, allowUnlisted: true })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.not.stringContaining('secret') }),
    )
  })

  it.each([
    '127.9.9.9',
    '0.0.0.0',
    '10.0.0.1',
    '100.64.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '192.0.0.192',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '[::]',
    '[::1]',
    '[fe80::1]',
    '[fec0::1]',
    '[fc00::1]',
    '[fd00:ec2::254]',
    '[ff02::1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:10.0.0.1]',
    '[::10.0.0.1]',
    '[64:ff9b::10.0.0.1]',
    '[64:ff9b::169.254.169.254]',
    '[64:ff9b:1::8.8.8.8]',
    '[2002:a00:1::]',
    '[2001:0:a00:1::]',
    '[2001:db8::1]',
    'localhost.',
    'a.localhost',
  ])('%s is private', (host) => {
    expect(isPrivateHost(new URL(`http://${host}`).hostname)).toBe(true)
  })

  it.each([
    '8.8.8.8',
    '100.63.255.255',
    '172.32.0.1',
    '[2606:4700::1111]',
    '[::ffff:8.8.8.8]',
    '[64:ff9b::8.8.8.8]',
    'localhost.example.com',
  ])('%s is not', (host) => {
    expect(isPrivateHost(new URL(`http://${host}`).hostname)).toBe(false)
  })

  it('takes any text for an address without failing', () => {
    fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => typeof isPrivateAddress(address) === 'boolean'))
    fc.assert(fc.property(fc.string(), (text) => typeof isPrivateHost(text) === 'boolean'))
    expect(isPrivateAddress('fe80::1%eth0')).toBe(true)
  })
})

describe('who may get credentials', () => {
  const may = (base: string, realm: string, settings: OriginSettings = {}) => {
    const endpoint = new Endpoints({ origins: { 'x.y': { url: base, ...settings } }, allowUnlisted: true }).resolve(
      'x.y',
    )
    return mayReceiveCredentials(endpoint, new URL(realm))
  }

  it.each([
    ['https://registry.example.com', 'https://registry.example.com/token', true],
    ['https://registry.example.com', 'https://registry.example.com:8443/token', true],
    ['https://registry.example.com', 'https://auth.example.com/token', true],
    ['https://registry.example.com', 'https://example.com/token', true],
    ['https://registry.example.com', 'https://auth.example.org/token', false],
    ['https://registry.example.com', 'https://auth.notexample.com/token', false],
    ['https://registry.example.com', 'http://registry.example.com/token', false],
    ['https://registry.example.co.uk', 'https://evil.co.uk/token', false],
    ['https://registry.example.co.uk', 'https://auth.example.co.uk/token', true],
    ['https://registry.bmw.de', 'https://auth.bmw.de/token', true],
    ['http://registry.example.com', 'http://auth.example.com/token', true],
    ['http://10.0.0.1:5000', 'http://10.0.0.1:5001/token', true],
    ['http://10.0.0.1:5000', 'http://10.9.0.1:5001/token', false],
    ['http://registry', 'http://auth/token', false],
  ])('%s → %s: %s', (base, realm, expected) => {
    expect(may(base, realm)).toBe(expected)
  })

  it('takes tokenHosts, and Docker Hub knows its own', () => {
    expect(may('https://a.example', 'https://sso.corp/token', { tokenHosts: ['SSO.corp'] })).toBe(true)
    const hub = new Endpoints({ origins: {}, allowUnlisted: true }).resolve('docker.io')
    expect(mayReceiveCredentials(hub, new URL('https://auth.docker.io/token'))).toBe(true)
    expect(mayReceiveCredentials(hub, new URL('http://auth.docker.io/token'))).toBe(false)
  })

  it('an unlisted endpoint never gets them over http', () => {
    const endpoint = {
      ...new Endpoints({ origins: {}, allowUnlisted: true }).resolve('a.example'),
      base: new URL('http://a.example'),
    }
    expect(mayReceiveCredentials(endpoint, new URL('http://a.example/token'))).toBe(false)
  })

  it('reads the user of a Basic header', () => {
    expect(basicUsername(`Basic ${Buffer.from('me:p:w').toString('base64')}`)).toBe('me')
    expect(basicUsername('Bearer abc')).toBeUndefined()
  })
})

describe('redirects', () => {
  const origins = {
    'listed.example': { url: 'https://10.0.0.1', redirectHosts: ['10.0.0.2', 'MINIO.corp:9000', '[fd00::1]:9000'] },
    'here.example': { url: 'http://127.0.0.1:1' },
  }
  const refusalOf = (registry: string, to: string, from?: string) => {
    const endpoint = new Endpoints({ origins, allowUnlisted: true }).resolve(registry)
    return hopRefusal(endpoint, new URL(from ?? endpoint.base), new URL(to))
  }

  it.each([
    ['a.example', 'https://b.example/', undefined],
    ['here.example', 'https://b.example/', undefined],
    ['here.example', 'http://127.0.0.1:2/', undefined],
    ['here.example', 'http://localhost:2/', undefined],
    ['here.example', 'http://169.254.169.254/', /private/],
    ['here.example', 'http://10.0.0.1/', /private/],
    ['listed.example', 'https://10.0.0.1:9000/', undefined],
    ['listed.example', 'https://10.0.0.2:9000/', undefined],
    ['listed.example', 'https://minio.corp:9000/', undefined],
    ['listed.example', 'https://[fd00::1]:9000/', undefined],
    ['listed.example', 'https://[fd00::1]/', /redirectHosts/],
    ['listed.example', 'https://10.0.0.3/', /redirectHosts/],
    ['listed.example', 'https://127.0.0.1/', /redirectHosts/],
    ['a.example', 'http://a.example/', /https to http/],
    ['a.example', 'https://127.0.0.1/', /private/],
    ['a.example', 'https://2130706433/', /private/],
    ['a.example', 'https://192.168.1.1/', /private/],
    ['a.example', 'https://169.254.169.254/latest', /private/],
    ['a.example', 'https://[::1]/', /private/],
    ['a.example', 'https://[::ffff:10.1.2.3]/', /private/],
    ['a.example', 'https://localhost/', /private/],
    ['a.example', 'ftp://b.example/', /neither/],
    ['a.example', 'https://u:p@b.example/', /credentials/],
  ])('%s → %s', (registry, to, refusal) => {
    const found = refusalOf(registry, to)
    if (refusal === undefined) expect(found).toBeUndefined()
    else expect(found).toMatch(refusal)
  })

  it('are judged by the registry, not by the hop before: who is at a private address can not lead on from there', () => {
    expect(refusalOf('listed.example', 'https://10.0.0.3/', 'https://10.0.0.2/')).toMatch(/redirectHosts/)
  })
})

describe('when to try again', () => {
  const none = { failures: 0, throttles: 0, waitLeftMs: 10_000 }
  const middle = () => 0.5
  const broken = originError('UNAVAILABLE', SUBJECT, 'x')

  it('backs off from 250 ms, doubling, with jitter on the upper half', () => {
    expect(retryDelayMs(broken, none, () => 0)).toBe(125)
    expect(retryDelayMs(broken, none, middle)).toBe(187.5)
    expect(retryDelayMs(broken, { ...none, failures: 1, throttles: 3 }, () => 0)).toBe(250)
    expect(retryDelayMs(broken, { ...none, failures: 2 }, middle)).toBeUndefined()
  })

  it('takes Retry-After at its word as long as there is time, and leaves an origin alone that asks for more', () => {
    expect(retryDelayMs(statusError(SUBJECT, 429, { retryAfterMs: 7000 }), none, middle)).toBe(7000)
    expect(retryDelayMs(statusError(SUBJECT, 503, { retryAfterMs: 10_000 }), none, middle)).toBe(10_000)
    expect(retryDelayMs(statusError(SUBJECT, 429, { retryAfterMs: 10_001 }), none, middle)).toBeUndefined()
    expect(retryDelayMs(statusError(SUBJECT, 429), { ...none, throttles: 4 }, middle)).toBeUndefined()
  })

  it('does not repeat what can not be mended', () => {
    for (const status of [400, 403, 404, 416])
      expect(retryDelayMs(statusError(SUBJECT, status), none, middle)).toBeUndefined()
    expect(retryDelayMs(new Error('x'), none, middle)).toBeUndefined()
    expect(retryDelayMs(originError('STALLED', SUBJECT, 'x'), none, middle)).toBeUndefined()
  })

  it('reads Retry-After as seconds or a date', () => {
    const now = Date.parse('Wed, 21 Oct 2026 07:28:00 GMT')
    expect(parseRetryAfter('120', now)).toBe(120_000)
    expect(parseRetryAfter('Wed, 21 Oct 2026 07:28:30 GMT', now)).toBe(30_000)
    expect(parseRetryAfter('Wed, 21 Oct 2026 07:27:30 GMT', now)).toBe(0)
    for (const text of ['-1', '1.5', 'soon', '', '99999999999'])
      expect(parseRetryAfter(text, now), text).toBeUndefined()
  })
})

describe('token answers', () => {
  const parse = (json: unknown) => parseTokenAnswer(Buffer.from(JSON.stringify(json)))

  it('takes token or access_token, 60 seconds by default, an hour at most', () => {
    expect(parse({ token: 'a', access_token: 'b' })).toEqual({ token: 'a', lifetimeS: 60 })
    expect(parse({ access_token: 'b', expires_in: 300 })).toEqual({ token: 'b', lifetimeS: 300 })
    expect(parse({ token: 'a', expires_in: 1e9 })).toEqual({ token: 'a', lifetimeS: 3600 })
  })

  it('refuses what is no token', () => {
    for (const json of [
      {},
      { token: '' },
      { token: 1 },
      { token: 'a b' },
      { token: 'a\r\nb' },
      { token: 'x'.repeat(20_000) },
      null,
      [],
    ])
      expect(parse(json)).toBeUndefined()
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseTokenAnswer(bytes)))
  })
})

describe('small things', () => {
  it('an LruMap forgets the least recently used', () => {
    const map = new LruMap<number>(2)
    map.set('a', 1)
    map.set('b', 2)
    map.get('a')
    map.set('c', 3)
    expect([map.get('a'), map.get('b'), map.get('c'), map.size]).toEqual([1, undefined, 3, 2])
  })

  it('an OriginError names its subject and carries plain data', () => {
    const error = originError('UNAUTHORIZED', SUBJECT, 'no', { data: { challenges: ['Basic realm="x"'] } })
    expect(error.message).toBe('a/b at r.example: no')
    expect(error.challenges).toEqual(['Basic realm="x"'])
    expect(structuredClone(error.data)).toEqual(error.data)
    expect(error).toBeInstanceOf(OriginError)
  })
})
