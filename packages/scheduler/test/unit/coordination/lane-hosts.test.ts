import { PIECE_RULE } from '@shoal/core'
import { type Hello, NodeRole } from '@shoal/proto'
import { describe, expect, it } from 'vitest'
import { scopeOf, scopeOfMultiaddr } from '../../../src/coordination/addresses.ts'
import { bootstrapFor } from '../../../src/coordination/bootstrap.ts'
import { checkHello } from '../../../src/coordination/checks.ts'
import type { Session } from '../../../src/coordination/session.ts'

const OUTSIDE = '10.0.0.5:1234'
const INSIDE = '127.0.0.1:1234'
const ALL = ['/ip4/127.0.0.1/tcp/7412', '/ip4/169.254.3.4/tcp/7412', '/ip4/10.0.0.1/tcp/7412', '/ip6/::1/tcp/7412']

const helloWith = (changes: Partial<Hello>): Hello => ({
  peerId: '12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA',
  name: 'n',
  role: NodeRole.PEER,
  laneHost: '',
  lanePort: 7411,
  multiaddrs: [],
  uploadSlots: 1,
  downloadSlots: 1,
  labels: {},
  version: '0',
  readsBatches: true,
  pieceRule: PIECE_RULE,
  ...changes,
})
const checked = (changes: Partial<Hello>, address: string) => checkHello(helloWith(changes), address)

describe('a host', () => {
  it.each([
    ['127.0.0.1', 'loopback'],
    ['127.0.1.1', 'loopback'],
    ['::1', 'loopback'],
    ['[::1]', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['localhost', 'loopback'],
    ['LOCALHOST.', 'loopback'],
    ['a.localhost', 'loopback'],
    ['0.0.0.0', 'nowhere'],
    ['::', 'nowhere'],
    ['169.254.1.2', 'nowhere'],
    ['fe80::1', 'nowhere'],
    ['fe80::1%eth0', 'nowhere'],
    ['224.0.0.1', 'nowhere'],
    ['255.255.255.255', 'nowhere'],
    ['ff02::1', 'nowhere'],
    ['::ffff:169.254.1.2', 'nowhere'],
    ['127.1', 'nowhere'],
    ['2130706433', 'nowhere'],
    ['0x7f.0.0.1', 'nowhere'],
    ['0177.0.0.1', 'nowhere'],
    ['10.0.0.5', 'everywhere'],
    ['fd00::1', 'everywhere'],
    ['2001:db8::1', 'everywhere'],
    ['node-7.example', 'everywhere'],
    ['localhost.example', 'everywhere'],
  ])('%s is of use %s', (host, scope) => {
    expect(scopeOf(host)).toBe(scope)
  })

  it('of a multiaddr says whom it is of use to', () => {
    expect(ALL.map(scopeOfMultiaddr)).toEqual(['loopback', 'nowhere', 'everywhere', 'loopback'])
    expect(
      ['/dns4/localhost/tcp/1', '/ip6zone/eth0/ip6/fe80::1/tcp/1', '/dns/a.b/tcp/1', '/x'].map(scopeOfMultiaddr),
    ).toEqual(['loopback', 'nowhere', 'everywhere', 'everywhere'])
  })
})

describe('the lane of a node', () => {
  it('is where the stream comes from, if that is of use to others', () => {
    expect(checked({ multiaddrs: ALL }, OUTSIDE)).toMatchObject({
      isLocal: false,
      isConfined: false,
      laneHost: '10.0.0.5',
      localLaneHost: '10.0.0.5',
      multiaddrs: ['/ip4/10.0.0.1/tcp/7412'],
      localMultiaddrs: ['/ip4/10.0.0.1/tcp/7412'],
    })
  })

  it('of one beside the scheduler is for other machines where its libp2p is', () => {
    expect(checked({ multiaddrs: ALL }, INSIDE)).toMatchObject({
      isLocal: true,
      isConfined: false,
      laneHost: '10.0.0.1',
      localLaneHost: '127.0.0.1',
      multiaddrs: ['/ip4/10.0.0.1/tcp/7412'],
      localMultiaddrs: ['/ip4/127.0.0.1/tcp/7412', '/ip4/10.0.0.1/tcp/7412', '/ip6/::1/tcp/7412'],
    })
  })

  it('of one beside the scheduler that names loopback alone is for nodes beside it', () => {
    const alone = { isLocal: true, isConfined: true, laneHost: '', localLaneHost: '127.0.0.1', multiaddrs: [] }
    expect(checked({ multiaddrs: ['/ip4/127.0.0.1/tcp/1'] }, INSIDE)).toMatchObject(alone)
    expect(checked({ multiaddrs: ALL, laneHost: '127.0.0.1' }, INSIDE)).toMatchObject({
      ...alone,
      multiaddrs: [ALL[2]],
    })
    expect(checked({ multiaddrs: ['/ip4/10.0.0.9/tcp/1/p2p/a/p2p-circuit'] }, '[::1]:9')).toMatchObject({
      laneHost: '',
    })
  })

  it('is what the node says, wherever its stream comes from', () => {
    for (const address of [INSIDE, OUTSIDE]) {
      expect(checked({ laneHost: 'node-7.example' }, address)).toMatchObject({
        isConfined: false,
        laneHost: 'node-7.example',
        localLaneHost: 'node-7.example',
      })
    }
  })

  it.each([
    ['127.0.0.1', OUTSIDE],
    ['localhost', OUTSIDE],
    ['0.0.0.0', INSIDE],
    ['169.254.1.1', OUTSIDE],
    ['fe80::1', INSIDE],
    ['224.0.0.9', OUTSIDE],
    ['127.1', INSIDE],
  ])('is not believed to be at %s by a stream from %s, and the node is told what to set', (laneHost, address) => {
    expect(() => checked({ laneHost }, address)).toThrow(/hello\.lane_host .*; set lane\.advertiseHost/)
  })
})

it('a newcomer is told addresses that it can use', () => {
  const sessions = [
    { introduction: checked({ multiaddrs: ['/ip4/127.0.0.1/tcp/1'] }, INSIDE) },
    { introduction: checked({ multiaddrs: ALL }, INSIDE) },
  ] as unknown as Session[]
  const id = '/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA'
  expect(bootstrapFor([], sessions, false, () => 0)).toEqual([`/ip4/10.0.0.1/tcp/7412${id}`])
  expect(bootstrapFor([], sessions, true, () => 0)).toHaveLength(4)
})
