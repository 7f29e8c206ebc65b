import { describe, expect, it } from 'vitest'
import { MOST_LEASES_FOR_ONE } from '../../../src/core/lease-turns.ts'
import { Cluster, THE_ORIGIN } from './cluster.ts'

const digest = (i: number) => `sha256:${i.toString(16).padStart(64, '0')}`
const TRICKLES = { registry: 'trickles.example', repository: 'a/b' }
const KIB = 1024

/** A seed that gets nothing from the one registry, as the registry trickles, and all from the others. */
function withTrickler(options: ConstructorParameters<typeof Cluster>[0]) {
  const cluster = new Cluster(options)
  const seed = cluster.up('seed', 'seed')
  seed.finds = ({ origin }) => (origin.registry === TRICKLES.registry ? 'silence' : undefined)
  return { cluster, seed }
}

/** Says as often as nodes do that the leases of the trickling registry get on. */
function runWithWords(cluster: Cluster, ms: number, wordEveryMs: number): void {
  for (let passed = 0; passed < ms; passed += wordEveryMs) {
    const until = cluster.now + wordEveryMs
    cluster.run(wordEveryMs)
    cluster.now = until
    cluster.core.setTime(until)
    for (const { id, lease } of cluster.core.swarms.values()) {
      if (lease?.source.origin.registry === TRICKLES.registry) cluster.core.leaseProgress(lease.node, id)
    }
  }
}

describe('turns at the origin', () => {
  it('that a registry wastes are others’ as soon as it stalls, however many of its blobs wait, and since when', () => {
    const { cluster } = withTrickler({ mostLeases: 2 })
    for (let i = 0; i < 20; i++) cluster.join(cluster.up(`a-${i}`), 4, digest(i), [], 1, { origin: TRICKLES })
    cluster.tick()
    const peer = cluster.up('peer')
    const swarms = [100, 101, 102].map((i) => cluster.join(peer, 4, digest(i)))
    cluster.run(11_000)
    expect(swarms.map((swarm) => cluster.hasAll(peer, swarm))).toEqual([true, true, true])
  })

  it('are kept by a slow registry as long as nobody else waits, and are lost when somebody does', () => {
    const { cluster } = withTrickler({ mostLeases: 1, leastLeaseRate: 64 * KIB })
    const slow = cluster.up('slow')
    const swarm = cluster.join(slow, 4, digest(0), [], 1, { origin: TRICKLES })
    cluster.tick()
    // 256 KiB in eight seconds: 32 KiB a second.
    runWithWords(cluster, 96_000, 8_000)
    expect(cluster.core.swarm(swarm).lease).toBeDefined()
    expect(cluster.revoked).toEqual([])
    const peer = cluster.up('peer')
    const other = cluster.join(peer, 4, digest(1))
    runWithWords(cluster, 40_000, 8_000)
    expect(cluster.hasAll(peer, other)).toBe(true)
    expect(cluster.core.counters.leases.slow).toBe(1)
    // It has its turn again, with the same node, which is not to blame.
    expect(cluster.core.swarm(swarm).lease).toBeDefined()
    expect(cluster.failures).toEqual([])
  })

  it('are not lost by a registry that is fast enough, or by a node that its own limits hold back', () => {
    const { cluster } = withTrickler({ mostLeases: 1, leastLeaseRate: 64 * KIB })
    cluster.join(cluster.up('slow'), 4, digest(0), [], 1, { origin: TRICKLES })
    cluster.tick()
    cluster.join(cluster.up('peer'), 4, digest(1))
    runWithWords(cluster, 120_000, 2_000)
    expect(cluster.revoked).toEqual([])
  })

  it('are shared by registries, then by nodes', () => {
    const cluster = new Cluster({ mostLeases: 4, originMs: 1000 })
    cluster.up('seed', 'seed')
    const [many, few] = [cluster.up('many'), cluster.up('few')]
    const other = { registry: 'other.example', repository: 'a/b' }
    for (let i = 0; i < 40; i++) cluster.join(many, 4, digest(i))
    cluster.run(100)
    const swarms = [100, 101, 102, 103].map((i) => cluster.join(few, 4, digest(i), [], 1, { origin: other }))
    cluster.run(600_000, () => swarms.every((swarm) => cluster.hasAll(few, swarm)))
    const order = cluster.leases.map(({ origin }) => origin.registry)
    expect(order.slice(4, 6)).toEqual([other.registry, other.registry])
    expect(order.slice(0, 12).filter((registry) => registry === THE_ORIGIN.registry).length).toBeLessThanOrEqual(8)
  })

  it.each([8, undefined])('are not all for one node that asks for very much (%s at once)', (mostLeases) => {
    const cluster = new Cluster(mostLeases === undefined ? {} : { mostLeases })
    const seed = cluster.up('seed', 'seed')
    const [liar, honest] = [cluster.up('liar'), cluster.up('honest')]
    seed.finds = ({ swarm }) => (cluster.core.swarm(swarm).digest < digest(100_000) ? 'silence' : undefined)
    for (let i = 0; i < 4000; i++) {
      cluster.join(liar, 1, digest(i), [], 1, { origin: { registry: `r${i}.example`, repository: 'a/b' } })
    }
    cluster.tick()
    expect(cluster.core.leases).toEqual(expect.objectContaining({ granted: mostLeases ?? MOST_LEASES_FOR_ONE }))
    expect(cluster.core.leases.granted + cluster.core.leases.waiting).toBe(4000)
    const swarms = [0, 1, 2].map((i) => cluster.join(honest, 4, digest(100_000 + i)))
    cluster.run(mostLeases === undefined ? 2_000 : 11_000)
    expect(swarms.map((swarm) => cluster.hasAll(honest, swarm))).toEqual([true, true, true])
  })

  it('that were held for one node go on when its leases end, and when the node goes', () => {
    const cluster = new Cluster()
    cluster.up('seed', 'seed')
    const node = cluster.up('node')
    const swarms = Array.from({ length: MOST_LEASES_FOR_ONE + 40 }, (_, i) => cluster.join(node, 1, digest(i)))
    cluster.tick()
    expect(cluster.core.leases).toMatchObject({ granted: MOST_LEASES_FOR_ONE, waiting: 40 })
    cluster.run()
    expect(swarms.every((swarm) => cluster.hasAll(node, swarm))).toBe(true)
    const other = cluster.up('other')
    for (let i = 0; i < MOST_LEASES_FOR_ONE + 40; i++) cluster.join(other, 1, digest(1000 + i))
    cluster.tick()
    cluster.down(other)
    cluster.run()
    expect(cluster.core.leases).toMatchObject({ granted: 0, waiting: 0 })
  })
})
