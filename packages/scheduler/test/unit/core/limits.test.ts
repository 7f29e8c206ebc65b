import { HaveSet } from '@shoal/core'
import { describe, expect, it } from 'vitest'
import { type Bound, LIMITS, type Limits } from '../../../src/core/limits.ts'
import { Cluster, DIGEST, OTHER_DIGEST, sizeOf, THE_ORIGIN } from './cluster.ts'

const digest = (i: number) => `sha256:${i.toString(16).padStart(64, '0')}`
const TIB = 2 ** 40

/** A cluster with these bounds in which one node waits for as many blobs as it is told to. */
function bounded(limits: Partial<Limits>) {
  const cluster = new Cluster({ limits })
  const node = cluster.up('node')
  return { cluster, node, core: cluster.core }
}

const refused = (cluster: Cluster) =>
  Object.entries(cluster.core.counters.refused).filter(([, count]) => count > 0) as [Bound, number][]

describe('a join over a bound', () => {
  it.each<[Bound, Partial<Limits>, string]>([
    ['nodeJoins', { nodeJoins: 2 }, 'at most 2 blobs'],
    ['nodePieces', { nodePieces: 8 }, 'at most 8 pieces'],
    ['nodeSwarms', { nodeSwarms: 2 }, 'at most 2 swarms'],
    ['swarms', { swarms: 2 }, 'at most 2 different blobs at once'],
    ['pieces', { pieces: 8 }, 'at most 8 pieces together'],
    ['blobs', { blobs: 2 }, 'at most 2 different blobs'],
  ])('fails alone, and the node is told why once: %s', (bound, limits, text) => {
    const { cluster, node, core } = bounded(limits)
    node.refuses = 'silence'
    const swarms = [0, 1, 2, 3].map((i) => cluster.join(node, 4, digest(i)))
    cluster.tick()
    expect(cluster.failures).toEqual([
      { node: node.index, reason: 'refused' },
      { node: node.index, reason: 'refused' },
    ])
    expect(cluster.refusals).toEqual([{ node: node.index, reason: expect.stringContaining(text) }])
    expect(refused(cluster)).toEqual([[bound, 2]])
    expect(swarms.map((swarm) => core.swarms.has(swarm))).toEqual([true, true, false, false])
    // What it waits for already it may say again, as when it has become more urgent.
    expect(cluster.join(node, 4, digest(0))).toBe(swarms[0])
    cluster.leave(node, digest(0))
    cluster.tick()
    expect(core.swarms.has(cluster.join(node, 4, digest(3)))).toBe(true)
  })

  it('of 1 TiB is refused before anything is made for its pieces', () => {
    const { cluster, node, core } = bounded({})
    const have = new HaveSet(0)
    const join = { digest: DIGEST, sizeBytes: Number.MAX_SAFE_INTEGER, have, origin: THE_ORIGIN, priority: 1 }
    core.join(node.index, join)
    core.join(node.index, { ...join, sizeBytes: TIB + 1 })
    core.holdingPart(node.index, DIGEST, TIB + 1, have)
    core.holding(node.index, DIGEST, TIB + 1)
    expect(refused(cluster)).toEqual([['blobSize', 4]])
    expect([core.swarms.size, core.blobs.size]).toEqual([0, 0])
    expect(core.swarms.has(core.join(node.index, { ...join, sizeBytes: TIB, have: new HaveSet(65536) }))).toBe(true)
  })

  it('of all nodes together is refused to the one that wants another blob, not to one that wants the same', () => {
    const { cluster, node, core } = bounded({ swarms: 1 })
    const other = cluster.up('other')
    const swarm = cluster.join(node, 4)
    expect(cluster.join(other, 4)).toBe(swarm)
    expect(core.swarms.has(cluster.join(other, 4, OTHER_DIGEST))).toBe(false)
  })
})

describe('holdings over a bound', () => {
  it.each<[Bound, Partial<Limits>]>([
    ['nodeHoldings', { nodeHoldings: 2 }],
    ['holdings', { holdings: 2 }],
    ['blobs', { blobs: 2 }],
  ])('are not noted, the others are: %s', (bound, limits) => {
    const { cluster, node, core } = bounded(limits)
    for (const i of [0, 1, 2, 3]) core.holding(node.index, digest(i), sizeOf(4))
    cluster.tick()
    expect(cluster.refusals).toHaveLength(1)
    expect(refused(cluster)).toEqual([[bound, 2]])
    expect(core.kept.holdings).toBe(2)
    core.withdrawn(node.index, digest(0))
    core.withdrawn(node.index, digest(0))
    core.withdrawn(node.index, digest(3))
    core.holding(node.index, digest(3), sizeOf(4))
    expect(core.kept.holdings).toBe(2)
    cluster.down(node)
    expect([core.kept.holdings, core.blobs.size]).toEqual([0, 0])
  })

  it('by blobs that the node got are not noted either', () => {
    const { cluster, node, core } = bounded({ nodeHoldings: 1 })
    for (const i of [0, 1]) cluster.join(node, 4, digest(i), [0, 1, 2, 3])
    cluster.run()
    expect(core.kept.holdings).toBe(1)
    expect([...core.node(node.index).holdings.keys()]).toEqual([digest(0)])
  })
})

it('the node hears of what is refused once a minute', () => {
  const { cluster, node } = bounded({ swarms: 0 })
  for (const seconds of [0, 30, 59, 60, 90]) {
    cluster.now = seconds * 1000
    cluster.join(node, 4)
    cluster.tick()
  }
  expect(cluster.refusals).toHaveLength(2)
})

it('50 000 joins of one node cost a bounded number of swarms', () => {
  const { cluster, node, core } = bounded({})
  for (let i = 0; i < 50_000; i++) cluster.join(node, 1, digest(i))
  expect(core.swarms.size).toBe(LIMITS.nodeJoins)
  expect(core.kept.pieces).toBe(LIMITS.nodeJoins)
})
