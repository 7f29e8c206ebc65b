import { describe, expect, it } from 'vitest'
import { type ReachView, reachTroubles } from '../../src/reach.ts'

const view = (changed: Partial<ReachView>): ReachView => ({
  laneHost: '::',
  advertiseHost: '',
  libp2pHost: '::',
  isLibp2pShared: true,
  schedulers: ['10.0.0.1:7400'],
  bootstrap: [],
  bootstrapDns: [],
  mdns: false,
  ...changed,
})

describe('a node that others cannot reach', () => {
  it.each([
    ['lane.host', { laneHost: '127.0.0.1' }],
    ['lane.advertiseHost', { advertiseHost: '127.0.1.1' }],
    ['libp2p.host', { libp2pHost: '::1', isLibp2pShared: false }],
    ['lane.advertiseHost', { isLibp2pShared: false }],
  ])('is told to set %s', (option, changed) => {
    const troubles = reachTroubles(view(changed))
    expect(troubles).toHaveLength(1)
    expect(troubles[0]).toContain(option)
  })

  it('is told nothing while all that it knows of is on its own machine', () => {
    const alone = { laneHost: '127.0.0.1', libp2pHost: '127.0.0.1', isLibp2pShared: false }
    expect(reachTroubles(view({ ...alone, schedulers: ['127.0.0.1:7400', '[::1]:7402'] }))).toEqual([])
    for (const elsewhere of [
      { bootstrap: ['/ip4/10.0.0.2/tcp/7412/p2p/x'] },
      { bootstrapDns: ['peers:7412'] },
      { mdns: true },
    ]) {
      expect(reachTroubles(view({ ...alone, schedulers: [], ...elsewhere }))).toHaveLength(2)
    }
  })
})

it('a node that others reach has no trouble', () => {
  expect(reachTroubles(view({}))).toEqual([])
  expect(reachTroubles(view({ laneHost: '10.0.0.2', libp2pHost: '0.0.0.0' }))).toEqual([])
})
