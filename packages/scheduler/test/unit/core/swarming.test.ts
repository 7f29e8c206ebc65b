import { describe, expect, it } from 'vitest'
import { Cluster, DIGEST, OTHER_DIGEST } from './cluster.ts'

const ALL = (n: number) => Array.from({ length: n }, (_, i) => i)

function flashCrowd(peers: number, pieces: number, options: { seedHolds: boolean; originMs?: number }) {
  const cluster = new Cluster(options.originMs === undefined ? {} : { originMs: options.originMs })
  const seed = cluster.up('seed', 'seed')
  if (options.seedHolds) cluster.holding(seed, pieces)
  const crowd = ALL(peers).map((i) => cluster.up(`peer-${i}`))
  let swarm = 0
  for (const peer of crowd) swarm = cluster.join(peer, pieces)
  cluster.run()
  return { cluster, seed, crowd, swarm }
}

describe('a flash crowd', () => {
  it('of 16 and 64 pieces finishes near the bound with at most 1.3 copies from the seed', () => {
    const { cluster, seed, crowd, swarm } = flashCrowd(16, 64, { seedHolds: true })
    expect(crowd.every((peer) => cluster.hasAll(peer, swarm))).toBe(true)
    expect(seed.sent / 64).toBeGreaterThanOrEqual(1)
    expect(seed.sent / 64).toBeLessThanOrEqual(1.3)
    // Two slots, so 200 ms would be two pieces: the bound is 64 + log2 16 pieces of 50 ms.
    expect(cluster.now / (68 * 50)).toBeLessThan(1.25)
    expect(cluster.originReads.size).toBe(0)
    expect(cluster.failures).toEqual([])
  })

  it.each([
    ['a seed that holds the blob', { seedHolds: true }],
    ['a fast origin', { seedHolds: false, originMs: 5 }],
    ['a slow origin', { seedHolds: false, originMs: 400 }],
  ])('of 3 gets most pieces from each other: %s', (_name, options) => {
    const { cluster, seed, crowd, swarm } = flashCrowd(3, 150, options)
    expect(crowd.every((peer) => cluster.hasAll(peer, swarm))).toBe(true)
    const received = crowd.reduce((sum, peer) => sum + peer.received, 0)
    const fromEachOther = crowd.reduce((sum, peer) => sum + peer.sent, 0)
    expect(received).toBe(450)
    expect(fromEachOther / received).toBeGreaterThan(0.6)
    expect(seed.sent / 150).toBeLessThan(1.2)
  })

  it('without a seed reads each piece from the origin once, by one of the peers', () => {
    const cluster = new Cluster()
    const crowd = ALL(8).map((i) => cluster.up(`peer-${i}`))
    let swarm = 0
    for (const peer of crowd) swarm = cluster.join(peer, 40)
    cluster.run()
    expect(crowd.every((peer) => cluster.hasAll(peer, swarm))).toBe(true)
    expect([...cluster.originReads.values()]).toEqual(ALL(40).map(() => 1))
    expect(crowd.filter((peer) => peer.received === 0)).toHaveLength(1)
  })

  it('brings out pieces in about the order of the blob', () => {
    const { cluster } = flashCrowd(4, 100, { seedHolds: true })
    const firstCopies = new Set(cluster.trace.filter((t) => t.kind === 'assign').map((t) => t.fields[2] as number))
    const order = [...firstCopies]
    expect(order.every((piece, at) => Math.abs(piece - at) < 32)).toBe(true)
  })
})

describe('an image whose layers all want at once', () => {
  const LAYERS = [1, 4, 8, 16, 24, 40]
  const digestOf = (layer: number) => `sha256:${layer.toString(16).repeat(64)}`

  function pulled(seedHolds: boolean) {
    const cluster = new Cluster({ originMs: 5 })
    const seed = cluster.up('seed', 'seed')
    if (seedHolds) for (const [layer, pieces] of LAYERS.entries()) cluster.holding(seed, pieces, digestOf(layer))
    const crowd = ALL(8).map((i) => cluster.up(`peer-${i}`))
    const swarms = crowd.flatMap((peer) => LAYERS.map((pieces, layer) => cluster.join(peer, pieces, digestOf(layer))))
    cluster.run()
    expect(crowd.every((peer) => swarms.every((swarm) => cluster.hasAll(peer, swarm)))).toBe(true)
    return seed.sent / LAYERS.reduce((sum, pieces) => sum + pieces, 0)
  }

  it.each([
    ['a seed that holds them', true],
    ['a fast origin', false],
  ])('is sent by the seed hardly more than once: %s', (_name, seedHolds) => {
    expect(pulled(seedHolds)).toBeLessThan(1.1)
  })

  it('does not keep a layer from a node that its holder can not reach while the others come', () => {
    const cluster = new Cluster({ transferMs: 1_000 })
    const seed = cluster.up('seed', 'seed')
    const holder = cluster.up('holder')
    cluster.holding(seed, 1, digestOf(0))
    cluster.holding(seed, 200, digestOf(1))
    cluster.holding(holder, 1, digestOf(0))
    holder.breaks = 'unreachable'
    const peer = cluster.up('peer')
    const cut = cluster.join(peer, 1, digestOf(0))
    const busy = cluster.join(peer, 200, digestOf(1))
    cluster.run(15_000)
    expect(cluster.hasAll(peer, cut)).toBe(true)
    expect(cluster.hasAll(peer, busy)).toBe(false)
  })
})

describe('late comers and restarts', () => {
  it('are served by peers, not by the seed', () => {
    const { cluster, seed, swarm } = flashCrowd(4, 64, { seedHolds: true })
    const before = seed.sent
    const late = cluster.up('late')
    expect(cluster.join(late, 64)).toBe(swarm)
    cluster.run()
    expect(cluster.hasAll(late, swarm)).toBe(true)
    expect(seed.sent - before).toBeLessThanOrEqual(6)
  })

  it('keep what they have: only what is missing travels', () => {
    const cluster = new Cluster()
    const holder = cluster.up('holder')
    cluster.holding(holder, 64)
    const peer = cluster.up('peer')
    const swarm = cluster.join(peer, 64, undefined, ALL(60))
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
    expect(peer.received).toBe(4)
    expect(cluster.originReads.size).toBe(0)
  })

  it('do not disturb: priority decides who gets a full node’s slots first', () => {
    const cluster = new Cluster()
    const seed = cluster.up('seed', 'seed')
    const peer = cluster.up('peer', 'peer', 2)
    const later = cluster.join(peer, 40, OTHER_DIGEST, [], 3)
    const urgent = cluster.join(peer, 40, DIGEST, [], 1)
    cluster.run(600_000, () => cluster.hasAll(peer, urgent))
    expect(cluster.hasAll(peer, urgent)).toBe(true)
    expect(peer.held.get(OTHER_DIGEST)?.size ?? 0).toBeLessThan(6)
    cluster.run()
    expect(cluster.hasAll(peer, later)).toBe(true)
    expect(seed.sent).toBe(80)
  })
})

describe('nodes to which nothing comes', () => {
  /** Peers that wait for an origin that gives a piece in `originMs`; one of them gets nothing from others. */
  function slowCrowd(originMs: number) {
    const cluster = new Cluster({ originMs, mostLeases: 1 })
    const seed = cluster.up('seed', 'seed')
    const peers = ALL(10).map((i) => cluster.up(`peer-${i}`))
    let swarm = 0
    for (const peer of peers) swarm = cluster.join(peer, 40)
    return { cluster, seed, peers, swarm }
  }

  it('are told every two seconds that it is worth waiting, while others get pieces', () => {
    const { cluster, peers, swarm } = slowCrowd(4_000)
    cluster.run(20_000)
    expect(new Set(cluster.reassured.map(({ node }) => node)).size).toBe(peers.length)
    for (const peer of peers) {
      const times = cluster.reassured.filter(({ node }) => node === peer.index).map(({ at }) => at)
      for (const [i, at] of times.slice(1).entries()) expect(at - (times[i] as number)).toBeGreaterThanOrEqual(2_000)
    }
    cluster.run()
    expect(peers.every((peer) => cluster.hasAll(peer, swarm))).toBe(true)
  })

  it('are told nothing when nobody gets pieces', () => {
    const { cluster, seed, peers } = slowCrowd(1_500)
    for (const node of [seed, ...peers]) node.refuses = 'silence'
    cluster.run(9_000)
    expect(cluster.reassured).toEqual([])
  })

  it('are told nothing when it is with them that transfers fail', () => {
    const { cluster, peers, swarm } = slowCrowd(4_000)
    const [unlucky] = peers as [(typeof peers)[0]]
    for (let at = 50; at < 20_000; at += 50) {
      cluster.run(at - cluster.now)
      cluster.now = at
      cluster.failAll(unlucky, swarm, 'unreachable')
    }
    expect(unlucky.received).toBe(0)
    expect(cluster.reassured.filter(({ node, at }) => node === unlucky.index && at > 5_000)).toEqual([])
  })

  it('are told that their turn at the origin comes', () => {
    const { cluster, peers } = slowCrowd(1_500)
    const [peer] = peers as [(typeof peers)[0]]
    cluster.tick()
    const waiting = cluster.join(peer, 40, OTHER_DIGEST)
    cluster.run(9_000)
    expect(cluster.reassured.some(({ node, swarm }) => node === peer.index && swarm === waiting)).toBe(true)
  })
})
