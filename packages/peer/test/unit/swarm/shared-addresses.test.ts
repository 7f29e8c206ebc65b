import { multiaddr } from '@multiformats/multiaddr'
import { expect, it } from 'vitest'
import { laneHostOf } from '../../../src/swarm/lane-host.ts'
import { addressesToShare } from '../../../src/swarm/shared-addresses.ts'

const shared = (...own: string[]) => addressesToShare(own.map((text) => multiaddr(text))).map(String)

it('tells others only addresses that lead here from elsewhere', () => {
  expect(
    shared(
      '/ip4/127.0.0.1/tcp/7412',
      '/ip4/10.0.0.7/tcp/7412',
      '/ip4/169.254.0.7/tcp/7412',
      '/ip6/::1/tcp/7412',
      '/ip6/fd00::7/tcp/7412',
      '/ip6/fe80::7/tcp/7412',
    ),
  ).toEqual(['/ip4/10.0.0.7/tcp/7412', '/ip6/fd00::7/tcp/7412'])
})

it('tells nodes of its own machine loopback when there is nothing else', () => {
  expect(shared('/ip4/127.0.0.1/tcp/7412')).toEqual(['/ip4/127.0.0.1/tcp/7412'])
})

it.each([
  ['', '10.0.0.7', '10.0.0.7'],
  ['10.0.0.8', '10.0.0.7', '10.0.0.8'],
  ['node-8', '10.0.0.7', 'node-8'],
  ['127.0.0.1', '10.0.0.7', '10.0.0.7'],
  ['localhost', 'fd00::7', 'fd00::7'],
  ['0.0.0.0', '10.0.0.7', '10.0.0.7'],
  ['fe80::8', 'fd00::7', 'fd00::7'],
  ['127.0.0.2', '127.0.0.1', '127.0.0.2'],
  ['127.0.0.2', undefined, '127.0.0.2'],
  ['', undefined, undefined],
])('takes a lane that is said to be at %j, from %s, to be at %s', (said, remote, host) => {
  expect(laneHostOf(said, remote)).toBe(host)
})
