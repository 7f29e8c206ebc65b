import { describe, expect, it } from 'vitest'
import { bootstrapNames, checkBootstrap } from '../../../src/swarm/options.ts'

describe('bootstrapNames', () => {
  it('takes names and addresses', () => {
    expect(bootstrapNames(['shoal-peers.shoal.svc:7412', '[fd00::1]:7412'])).toEqual([
      { host: 'shoal-peers.shoal.svc', port: 7412 },
      { host: 'fd00::1', port: 7412 },
    ])
  })

  it('says what to write in place of what it can not use', () => {
    expect(() => bootstrapNames(['a:1', '/dns4/peers/tcp/7412'])).toThrow(
      'libp2p.bootstrapDns: "/dns4/peers/tcp/7412" is not host:port; write for example shoal-peers.shoal.svc:7412',
    )
  })
})

describe('checkBootstrap', () => {
  const id = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'

  it('takes addresses of every kind of host that end in a peer id', () => {
    const hosts = ['ip4/10.0.0.1', 'ip6/fd00::1', 'dns/peers', 'dns4/peers.example', 'dns6/peers.example']
    expect(() => checkBootstrap(hosts.map((host) => `/${host}/tcp/7412/p2p/${id}`))).not.toThrow()
  })

  it.each([
    ['', 'does not begin with a host and a TCP port'],
    ['peers:7412', 'is no multiaddr'],
    ['/ip4/10.0.0.256/tcp/7412', 'is no multiaddr'],
    [`/ip4/10.0.0.1/tcp/99999/p2p/${id}`, 'is no multiaddr'],
    [`/ip4/10.0.0.1/tcp/0/p2p/${id}`, 'does not begin with a host and a TCP port'],
    [`/ip4/10.0.0.1/udp/7412/p2p/${id}`, 'does not begin with a host and a TCP port'],
    [`/p2p/${id}`, 'does not begin with a host and a TCP port'],
    ['/ip4/10.0.0.1/tcp/7412', 'does not end in /p2p/ and a peer id'],
    [`/ip4/10.0.0.1/tcp/7412/p2p/${id}/p2p-circuit`, 'does not end in /p2p/ and a peer id'],
    ['/ip4/10.0.0.1/tcp/7412/p2p/12D3KooWDpJ7As7BWAwR', 'is no'],
  ])('refuses %j', (address, why) => {
    expect(() => checkBootstrap([address])).toThrow(`libp2p.bootstrap: ${JSON.stringify(address)} `)
    expect(() => checkBootstrap([address])).toThrow(why)
    expect(() => checkBootstrap([address])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })
})
