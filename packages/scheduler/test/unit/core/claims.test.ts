import { HaveSet } from '@shoal/core'
import { describe, expect, it } from 'vitest'
import type { LeaseCommand } from '../../../src/core/commands.ts'
import { Cluster, DIGEST, sizeOf, THE_ORIGIN } from './cluster.ts'

const SIZE = sizeOf(40)
const WRONG = SIZE + 1
const EVIL = { registry: 'evil.example', repository: 'a/b' }
const OTHER = { registry: 'docker.io', repository: 'library/alpine' }

/** Seeds that find the blob of 40 pieces only where it is. */
function withSeeds(count: number) {
  const cluster = new Cluster()
  const seeds = Array.from({ length: count }, (_, i) => cluster.up(`seed-${i}`, 'seed'))
  const finds = ({ swarm, origin }: LeaseCommand) => {
    if (origin.registry === EVIL.registry) return 'not_found' as const
    return cluster.core.swarm(swarm).layout.size === SIZE ? undefined : ('size_mismatch' as const)
  }
  for (const seed of seeds) seed.finds = finds
  const up = (name: string) => {
    const member = cluster.up(name)
    member.finds = finds
    return member
  }
  return { cluster, seeds, up }
}

describe('a size', () => {
  it.each(['first', 'second'])('that is wrong ends the join of who claims it, and nobody else’s: %s', (when) => {
    const { cluster, up } = withSeeds(2)
    const [liar, honest] = [up('liar'), up('honest')]
    const lie = () => cluster.join(liar, 40, DIGEST, [], 1, { sizeBytes: WRONG, origin: OTHER })
    if (when === 'first') lie()
    const swarm = cluster.join(honest, 40)
    if (when === 'second') lie()
    cluster.run()
    expect(cluster.failures).toEqual([{ node: liar.index, reason: 'size_mismatch' }])
    expect(cluster.hasAll(honest, swarm)).toBe(true)
    expect([...cluster.originReads.values()]).toEqual(new Array(40).fill(1))
  })

  it('that a holder claims is believed of those only who want the blob in that size', () => {
    const { cluster, up } = withSeeds(1)
    const [liar, honest] = [cluster.up('liar'), up('honest')]
    cluster.core.holding(liar.index, DIGEST, WRONG)
    const swarm = cluster.join(honest, 40)
    cluster.run()
    expect(cluster.hasAll(honest, swarm)).toBe(true)
    expect(liar.sent).toBe(0)
  })

  it('that a node corrects is its only one', () => {
    const { cluster, up } = withSeeds(1)
    const node = up('node')
    const wrong = cluster.join(node, 40, DIGEST, [], 1, { sizeBytes: WRONG })
    const right = cluster.join(node, 40)
    expect(right).not.toBe(wrong)
    expect([...cluster.core.node(node.index).swarms.values()].map(({ id }) => id)).toEqual([right])
    cluster.run()
    expect(cluster.core.swarms.has(wrong)).toBe(false)
    expect(cluster.hasAll(node, right)).toBe(true)
    expect(cluster.core.blobs.of(DIGEST).map(({ sizeBytes }) => sizeBytes)).toEqual([SIZE])
    // A word of the swarm that it left is of nothing any more.
    cluster.core.pieceDone(node.index, wrong, 0, -1, new Uint8Array(32))
    cluster.core.holding(node.index, DIGEST, WRONG)
    expect(cluster.core.blobs.of(DIGEST).map(({ sizeBytes, holders }) => [sizeBytes, holders.size])).toEqual([
      [SIZE, 1],
      [WRONG, 1],
    ])
    for (const member of cluster.members.values()) cluster.down(member)
    cluster.run()
    expect(cluster.core.blobs.size).toBe(0)
  })

  it('is not asked of a seed that holds the blob in another', () => {
    const { cluster, seeds, up } = withSeeds(1)
    const [seed] = seeds as [(typeof seeds)[0]]
    cluster.holding(seed, 40)
    const liar = up('liar')
    cluster.join(liar, 40, DIGEST, [], 1, { sizeBytes: WRONG })
    cluster.run()
    expect(cluster.leases.map(({ node }) => node)).toEqual([liar.index])
    expect(cluster.failures).toEqual([{ node: liar.index, reason: 'size_mismatch' }])
  })
})

describe('a source', () => {
  it.each(['first', 'second'])('that has not got the blob is refuted for those who named it, no others: %s', (when) => {
    const { cluster, seeds, up } = withSeeds(2)
    const [liar, honest] = [up('liar'), up('honest')]
    const lie = () => cluster.join(liar, 40, DIGEST, [], 1, { origin: EVIL })
    if (when === 'first') lie()
    const swarm = cluster.join(honest, 40)
    if (when === 'second') lie()
    // The seeds have no account at the honest one either: its client has.
    for (const seed of seeds) seed.refuses = 'unauthorized'
    cluster.run()
    expect(cluster.failures).toEqual(when === 'first' ? [{ node: liar.index, reason: 'not_found' }] : [])
    expect(cluster.hasAll(honest, swarm)).toBe(true)
    const byHonest = cluster.leases.filter(({ node }) => node === honest.index)
    expect(byHonest.map(({ origin }) => origin)).toEqual([THE_ORIGIN])
  })

  it('is tried by the seeds after another one that failed', () => {
    const { cluster, seeds, up } = withSeeds(2)
    const [liar, honest] = [up('liar'), up('honest')]
    cluster.join(liar, 40, DIGEST, [], 1, { origin: EVIL })
    const swarm = cluster.join(honest, 40)
    cluster.run()
    expect(cluster.leases.map(({ origin }) => origin)).toEqual([EVIL, THE_ORIGIN])
    expect(new Set(cluster.leases.map(({ node }) => node))).toEqual(new Set(seeds.map(({ index }) => index)))
    expect(cluster.hasAll(honest, swarm)).toBe(true)
  })

  it('that most nodes name goes first', () => {
    const { cluster, up } = withSeeds(1)
    cluster.join(up('liar'), 40, DIGEST, [], 1, { origin: EVIL })
    for (const name of ['a', 'b']) cluster.join(up(name), 40)
    cluster.run()
    expect(cluster.leases.map(({ origin }) => origin)).toEqual([THE_ORIGIN])
    expect(cluster.failures).toEqual([])
  })

  it('of many that are made up is tried by the seeds no more after the first few', () => {
    const { cluster, seeds, up } = withSeeds(2)
    for (let i = 0; i < 40; i++) {
      const origin = { registry: EVIL.registry, repository: `made/up-${i}` }
      const liar = up(`liar-${i}`)
      liar.refuses = 'unavailable'
      cluster.join(liar, 40, DIGEST, [], 1, { origin })
    }
    cluster.run()
    const bySeeds = cluster.leases.filter(({ node }) => seeds.some(({ index }) => index === node))
    expect(bySeeds).toHaveLength(8)
    expect(cluster.failures).toHaveLength(40)
  })
})

describe('the sha256 of a piece that is leased', () => {
  it('is not taken from a node that has no lease', () => {
    const { cluster, up } = withSeeds(1)
    const [liar, honest] = [up('liar'), up('honest')]
    const have = new HaveSet(40)
    const info = { digest: DIGEST, sizeBytes: SIZE, have, origin: THE_ORIGIN, priority: 1 }
    const swarm = cluster.join(honest, 40)
    cluster.core.join(liar.index, info)
    cluster.tick()
    cluster.core.pieceDone(liar.index, swarm, 0, -1, new Uint8Array(32).fill(7))
    expect(cluster.core.swarm(swarm).known[0]).toBe(0)
    cluster.down(liar)
    cluster.run()
    expect(cluster.hasAll(honest, swarm)).toBe(true)
  })
})
