import { describe, expect, it } from 'vitest'
import { systemLookUp, tcpMultiaddrs } from '../../../src/swarm/look-up.ts'

describe('tcpMultiaddrs', () => {
  it('makes one of each IP address, and none of what libp2p can not dial', () => {
    const found = ['10.0.0.5', 'fd00::5', '10.0.0.5', 'fe80::1%eth0', 'not an address']
    expect(tcpMultiaddrs(found, 7412)).toEqual(['/ip4/10.0.0.5/tcp/7412', '/ip6/fd00::5/tcp/7412'])
  })
})

describe('systemLookUp', () => {
  it('takes addresses as they are', async () => {
    expect(await systemLookUp('127.0.0.9')).toEqual(['127.0.0.9'])
    expect(await systemLookUp('fd00::9')).toEqual(['fd00::9'])
  })

  it('knows what only the system knows', async () => {
    const found = await systemLookUp('localhost')
    expect(found.some((address) => address === '127.0.0.1' || address === '::1')).toBe(true)
  })
})
