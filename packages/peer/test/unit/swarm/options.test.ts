import { describe, expect, it } from 'vitest'
import { bootstrapNames } from '../../../src/swarm/options.ts'

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
