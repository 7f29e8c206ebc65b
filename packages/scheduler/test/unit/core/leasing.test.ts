import { describe, expect, it } from 'vitest'
import type { LeaseFailure } from '../../../src/core/commands.ts'
import { Random } from '../../../src/core/random.ts'
import { Cluster, DIGEST, OTHER_DIGEST, shaOf } from './cluster.ts'

const leasedTo = (cluster: Cluster) => cluster.trace.filter((t) => t.kind === 'lease').map((t) => t.fields[0])

function withSeeds(seeds: number, peers: number) {
  const cluster = new Cluster()
  return {
    cluster,
    seeds: Array.from({ length: seeds }, (_, i) => cluster.up(`seed-${i}`, 'seed')),
    peers: Array.from({ length: peers }, (_, i) => cluster.up(`peer-${i}`)),
  }
}

describe('leases', () => {
  it('go to one seed, whole, and are spread over the seeds', () => {
    const { cluster, peers } = withSeeds(2, 1)
    const [peer] = peers as [(typeof peers)[0]]
    cluster.join(peer, 40, DIGEST)
    cluster.join(peer, 40, OTHER_DIGEST)
    cluster.tick()
    const leases = cluster.trace.filter((t) => t.kind === 'lease')
    expect(leases.map((t) => t.fields.slice(2))).toEqual([
      [0, 40],
      [0, 40],
    ])
    expect(new Set(leasedTo(cluster)).size).toBe(2)
  })

  it('are so many at once as there may be, the most urgent swarms first; the others wait without a bound', () => {
    const digests = ['a', 'b', 'c', 'd'].map((letter) => `sha256:${letter.repeat(64)}`)
    const cluster = new Cluster({ mostLeases: 2, originMs: 2_000, leaseStallMs: 3_600_000 })
    cluster.up('seed', 'seed')
    const peer = cluster.up('peer')
    const swarms = digests.map((digest, i) => cluster.join(peer, 20, digest, [], i === 3 ? 0 : 2))
    const [first, second, third, urgent] = swarms as [number, number, number, number]
    cluster.tick()
    const order = () => cluster.trace.filter((t) => t.kind === 'lease').map((t) => t.fields[1])
    expect(order()).toEqual([urgent, first])
    expect(cluster.core.leases).toMatchObject({ granted: 2, waiting: 2 })
    cluster.run(3_600_000)
    expect(order()).toEqual([urgent, first, second, third])
    expect(cluster.failures).toEqual([])
    expect(swarms.every((swarm) => cluster.hasAll(peer, swarm))).toBe(true)
  })

  it('that nobody can carry out make room for those that wait', () => {
    const cluster = new Cluster({ mostLeases: 1 })
    const [bad, good] = [cluster.up('bad'), cluster.up('good')]
    bad.refuses = 'not_found'
    cluster.join(bad, 20, DIGEST)
    const swarm = cluster.join(good, 20, OTHER_DIGEST)
    cluster.run()
    expect(cluster.failures).toEqual([{ node: bad.index, reason: 'not_found' }])
    expect(cluster.hasAll(good, swarm)).toBe(true)
  })

  it('that are waited for in vain, as all who wanted the blob have left, are nobody’s turn', () => {
    const cluster = new Cluster({ mostLeases: 1, originMs: 1_000 })
    const peer = cluster.up('peer')
    const other = cluster.up('other')
    cluster.join(peer, 20, DIGEST)
    cluster.tick()
    cluster.join(other, 20, OTHER_DIGEST)
    cluster.tick()
    expect(cluster.core.leases.waiting).toBe(1)
    cluster.down(other)
    cluster.tick()
    expect(cluster.core.leases).toMatchObject({ granted: 1, waiting: 0 })
  })

  it.each([0, 1])('go to the seed that has some of the blob already, be it the busier one: seed %i', (which) => {
    const { cluster, seeds, peers } = withSeeds(2, 1)
    const [peer, seed] = [peers[0], seeds[which]] as [(typeof peers)[0], (typeof seeds)[0]]
    cluster.join(peer, 40, OTHER_DIGEST)
    cluster.holdingPart(seed, 40, DIGEST, [0, 1, 2])
    cluster.tick()
    cluster.join(peer, 40, DIGEST)
    cluster.run()
    const leases = cluster.trace.filter((t) => t.kind === 'lease').map((t) => t.fields)
    expect(leases.map(([node, , first, count]) => [node, first, count])).toContainEqual([seed.index, 3, 37])
  })

  it.each([
    ['another scheduler', 20_000, 200],
    ['before a restart', 0, 1900],
  ])(
    'wait for the nodes that bring a swarm from %s, and go to the one that has the most',
    (_where, ageMs, spreadMs) => {
      const { cluster, peers } = withSeeds(0, 3)
      cluster.now += ageMs
      const [first, second, lessee] = peers as [(typeof peers)[0], (typeof peers)[0], (typeof peers)[0]]
      cluster.join(first, 40, DIGEST, [1])
      cluster.tick()
      cluster.now += spreadMs
      cluster.tick()
      cluster.join(second, 40, DIGEST, [2, 3])
      cluster.tick()
      const swarm = cluster.join(lessee, 40, DIGEST, [1, 2, 3, 4, 5])
      cluster.run()
      expect(leasedTo(cluster)).toEqual([lessee.index, lessee.index])
      expect(cluster.originReads.size).toBe(35)
      expect(peers.every((peer) => cluster.hasAll(peer, swarm))).toBe(true)
    },
  )

  it('stay with a seed that says only then what it has of the blob already', () => {
    const { cluster, seeds, peers } = withSeeds(1, 1)
    const [seed, peer] = [seeds[0], peers[0]] as [(typeof seeds)[0], (typeof peers)[0]]
    const swarm = cluster.join(peer, 40)
    cluster.tick()
    cluster.holdingPart(seed, 40, DIGEST, [0, 1, 2])
    cluster.run()
    expect(leasedTo(cluster)).toEqual([seed.index])
    expect(cluster.hasAll(peer, swarm)).toBe(true)
  })

  it('cover only what no live node holds, in contiguous runs', () => {
    const { cluster, peers } = withSeeds(1, 2)
    const [a, b] = peers as [(typeof peers)[0], (typeof peers)[0]]
    cluster.join(a, 10, DIGEST, [2, 3])
    const swarm = cluster.join(b, 10, DIGEST, [7])
    cluster.run(600_000, () => leasedTo(cluster).length > 0)
    const runs = cluster.trace.filter((t) => t.kind === 'lease').map((t) => t.fields.slice(2))
    expect(runs).toEqual([
      [0, 2],
      [4, 3],
      [8, 2],
    ])
    cluster.run()
    expect(cluster.hasAll(a, swarm) && cluster.hasAll(b, swarm)).toBe(true)
    expect(cluster.originReads.size).toBe(7)
  })

  it.each(['unauthorized', 'unavailable', 'local'] as const)(
    'that fail with %s go to the other seeds, then to each node that waits',
    (reason) => {
      const { cluster, seeds, peers } = withSeeds(2, 2)
      for (const seed of seeds) seed.refuses = reason
      const [first, second] = peers as [(typeof peers)[0], (typeof peers)[0]]
      first.refuses = reason
      cluster.join(first, 40)
      const swarm = cluster.join(second, 40)
      cluster.run()
      const holders = leasedTo(cluster)
      expect(holders).toHaveLength(4)
      expect(new Set(holders.slice(0, 2))).toEqual(new Set(seeds.map((seed) => seed.index)))
      expect(holders.slice(2)).toEqual([first.index, second.index])
      expect(peers.every((peer) => cluster.hasAll(peer, swarm))).toBe(true)
      expect(cluster.failures).toEqual([])
    },
  )

  it('that a seed answers with not_found skip the other seeds: a client may see what they can not', () => {
    const { cluster, seeds, peers } = withSeeds(3, 1)
    for (const seed of seeds) seed.refuses = 'not_found'
    const [peer] = peers as [(typeof peers)[0]]
    const swarm = cluster.join(peer, 40)
    cluster.run()
    expect(leasedTo(cluster)).toHaveLength(2)
    expect(leasedTo(cluster)[1]).toBe(peer.index)
    expect(cluster.hasAll(peer, swarm)).toBe(true)
  })

  it('that nobody can carry out fail the swarm; a later join starts over', () => {
    const { cluster, seeds, peers } = withSeeds(1, 2)
    for (const node of [...seeds, ...peers]) node.refuses = 'unavailable'
    for (const peer of peers) cluster.join(peer, 40)
    cluster.run()
    expect(leasedTo(cluster)).toHaveLength(3)
    expect(cluster.failures).toEqual(peers.map((peer) => ({ node: peer.index, reason: 'unavailable' })))
    expect(cluster.core.swarms.size).toBe(0)
    delete (seeds[0] as (typeof seeds)[0]).refuses
    const [peer] = peers as [(typeof peers)[0]]
    const swarm = cluster.join(peer, 40)
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
  })

  it.each<LeaseFailure>(['size_mismatch', 'digest_mismatch'])('that fail with %s fail all at once', (reason) => {
    const { cluster, seeds, peers } = withSeeds(2, 3)
    for (const seed of seeds) seed.refuses = reason
    for (const peer of peers) cluster.join(peer, 40)
    cluster.run()
    expect(leasedTo(cluster)).toHaveLength(1)
    expect(cluster.failures).toEqual(peers.map((peer) => ({ node: peer.index, reason })))
    expect(cluster.core.swarms.size).toBe(0)
    expect(cluster.core.blobs.size).toBe(0)
  })

  it('move on when the holder dies: only what died with it is fetched again', () => {
    const { cluster, peers } = withSeeds(2, 3)
    const swarm = peers.map((peer) => cluster.join(peer, 100)).at(-1) as number
    cluster.run(600_000, () => cluster.originReads.size >= 50)
    const holder = cluster.members.get(leasedTo(cluster)[0] as number)
    if (holder === undefined) throw new Error('no lease')
    cluster.down(holder)
    cluster.run()
    expect(peers.every((peer) => cluster.hasAll(peer, swarm))).toBe(true)
    expect(leasedTo(cluster).at(-1)).not.toBe(holder.index)
    const reads = [...cluster.originReads.values()].reduce((sum, n) => sum + n, 0)
    expect(reads).toBeLessThan(150)
  })

  it('move on when the holder is silent, and late pieces still count', () => {
    const { cluster, seeds, peers } = withSeeds(2, 1)
    const [peer] = peers as [(typeof peers)[0]]
    for (const seed of seeds) seed.refuses = 'silence'
    const swarm = cluster.join(peer, 40)
    cluster.run(10_500)
    expect(leasedTo(cluster)).toHaveLength(2)
    expect(cluster.revoked.map(({ node }) => node)).toEqual(leasedTo(cluster).slice(0, 1))
    const toldToWait = cluster.reassured.filter(({ at }) => at >= (cluster.revoked[0]?.at ?? 0))
    expect(toldToWait.map(({ node }) => node)).toContain(peer.index)
    const late = cluster.members.get(leasedTo(cluster)[0] as number) as (typeof seeds)[0]
    late.held.set(DIGEST, new Set([0]))
    cluster.core.pieceDone(late.index, swarm, 0, -1, shaOf(DIGEST, 0))
    cluster.run(500)
    expect(peer.held.get(DIGEST)).toEqual(new Set([0]))
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
    expect(leasedTo(cluster).at(-1)).toBe(peer.index)
    expect(cluster.core.counters.leases.stalled).toBe(2)
    expect(cluster.revoked.map(({ node }) => node)).toEqual(leasedTo(cluster).slice(0, 2))
    const again = cluster.reassured.filter(({ at }) => at >= (cluster.revoked[1]?.at ?? 0) && at < 25_000)
    expect(again).toEqual([])
  })

  it('stay with a holder that says that bytes come, and the others wait with it; and with nobody else by its word', () => {
    const { cluster, seeds, peers } = withSeeds(2, 1)
    const [peer] = peers as [(typeof peers)[0]]
    for (const seed of seeds) seed.refuses = 'silence'
    const swarm = cluster.join(peer, 40)
    cluster.tick()
    const [holder] = leasedTo(cluster) as [number]
    const other = seeds.find(({ index }) => index !== holder) as (typeof seeds)[0]
    for (let i = 0; i < 6; i++) {
      cluster.run(5_000)
      cluster.core.leaseProgress(holder, swarm)
    }
    expect(leasedTo(cluster)).toEqual([holder])
    expect(cluster.reassured.filter(({ node }) => node === peer.index).length).toBeGreaterThan(6)
    for (let i = 0; i < 3; i++) {
      cluster.core.leaseProgress(other.index, swarm)
      cluster.run(5_000)
    }
    expect(leasedTo(cluster)).toEqual([holder, other.index])
    expect(cluster.failures).toEqual([])
    cluster.core.leaseProgress(holder, swarm + 1)
  })

  it('do not stay for ever with a holder that says so and brings nothing', () => {
    const { cluster, seeds, peers } = withSeeds(2, 1)
    const [peer] = peers as [(typeof peers)[0]]
    for (const seed of seeds) seed.refuses = 'silence'
    const swarm = cluster.join(peer, 40)
    cluster.tick()
    const [holder] = leasedTo(cluster) as [number]
    for (let i = 0; i < 119; i++) {
      cluster.run(5_000)
      cluster.core.leaseProgress(holder, swarm)
    }
    expect(leasedTo(cluster)).toEqual([holder])
    for (let i = 0; i < 3; i++) {
      cluster.run(5_000)
      cluster.core.leaseProgress(holder, swarm)
    }
    expect(leasedTo(cluster)).toHaveLength(2)
  })

  it('given back by leaving go to another node', () => {
    const { cluster, peers } = withSeeds(0, 2)
    const [a, b] = peers as [(typeof peers)[0], (typeof peers)[0]]
    a.refuses = 'silence'
    cluster.join(a, 40)
    const swarm = cluster.join(b, 40)
    cluster.tick()
    expect(leasedTo(cluster)).toEqual([a.index])
    cluster.leave(a)
    cluster.run()
    expect(leasedTo(cluster)).toEqual([a.index, b.index])
    expect(cluster.hasAll(b, swarm)).toBe(true)
  })

  it('chooses the same seed whatever the order in which the seeds came', () => {
    const names = ['seed-a', 'seed-b', 'seed-c', 'seed-d']
    const chosen = [1, 2, 3, 4, 5].map((seed) => {
      const random = new Random(seed)
      const cluster = new Cluster()
      for (const name of [...names].sort(() => random.unit() - 0.5)) cluster.up(name, 'seed')
      cluster.join(cluster.up('peer'), 8)
      cluster.tick()
      return cluster.members.get(leasedTo(cluster)[0] as number)?.name
    })
    expect(new Set(chosen).size).toBe(1)
  })
})

describe('piece maps', () => {
  it('are asked of one holder, of another when it does not know', () => {
    const { cluster, peers } = withSeeds(0, 4)
    const [zeros, silent, good, peer] = peers as [
      (typeof peers)[0],
      (typeof peers)[0],
      (typeof peers)[0],
      (typeof peers)[0],
    ]
    zeros.map = 'zeros'
    silent.map = 'silence'
    for (const holder of [zeros, silent, good]) cluster.holding(holder, 40)
    const swarm = cluster.join(peer, 40)
    cluster.run()
    expect(cluster.trace.filter((t) => t.kind === 'map').map((t) => t.fields[0])).toEqual([
      zeros.index,
      silent.index,
      good.index,
    ])
    expect(cluster.hasAll(peer, swarm)).toBe(true)
    expect(cluster.originReads.size).toBe(0)
  })

  it('that no holder knows are made by reading the origin', () => {
    const { cluster, peers } = withSeeds(1, 2)
    const [holder, peer] = peers as [(typeof peers)[0], (typeof peers)[0]]
    holder.map = 'zeros'
    cluster.holding(holder, 40)
    const swarm = cluster.join(peer, 40)
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
    expect(cluster.originReads.size).toBe(40)
  })

  it('are not taken from who was not asked', () => {
    const { cluster, peers } = withSeeds(1, 2)
    const [liar, peer] = peers as [(typeof peers)[0], (typeof peers)[0]]
    const swarm = cluster.join(peer, 4)
    cluster.core.pieceMap(liar.index, DIGEST, cluster.core.swarm(swarm).layout.size, new Uint8Array(128).fill(7))
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
  })
})
