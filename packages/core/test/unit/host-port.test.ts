import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseHostPort } from '../../src/host-port.ts'

describe('parseHostPort', () => {
  it.each([
    ['peers.shoal.svc:7412', { host: 'peers.shoal.svc', port: 7412 }],
    [' Peers_1:65535 ', { host: 'peers_1', port: 65535 }],
    ['10.0.0.5:1', { host: '10.0.0.5', port: 1 }],
    ['[FD00::1]:7412', { host: 'fd00::1', port: 7412 }],
  ])('takes %s', (text, parts) => expect(parseHostPort(text)).toEqual(parts))

  it.each([
    '',
    'peers',
    'peers:',
    ':1',
    'peers:0',
    'peers:65536',
    'peers:07',
    'fd00::1:7412',
    '/ip4/10.0.0.5/tcp/1',
    'http://a:1',
    'a b:1',
  ])('refuses %j', (text) => expect(parseHostPort(text)).toBeUndefined())

  it('gives back what a port and an address were put together from', () => {
    const port = fc.integer({ min: 1, max: 65535 })
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.domain()), port, (host, port) => {
        expect(parseHostPort(`${host}:${port}`)).toEqual({ host: host.toLowerCase(), port })
      }),
    )
    fc.assert(
      fc.property(fc.ipV6(), port, (host, port) => {
        expect(parseHostPort(`[${host}]:${port}`)).toEqual({ host: host.toLowerCase(), port })
      }),
    )
  })
})
