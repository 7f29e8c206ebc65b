import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Flights } from '../../../src/core/flights.ts'
import { LinkEnds } from '../../../src/core/link-ends.ts'
import { Pace } from '../../../src/core/pace.ts'
import { slotShare, slotsFor } from '../../../src/core/slots.ts'
import { Cluster, OTHER_DIGEST } from './cluster.ts'

const ALL = (n: number) => Array.from({ length: n }, (_, i) => i)

describe('slots', () => {
  it('follow the pieces, and the latency of control where that is long', () => {
    expect([8, 31, 32, 127, 128, 750].map((pieces) => slotsFor(pieces, 0))).toEqual([1, 1, 2, 2, 3, 3])
    expect([0.9, 1, 2, 3, 100].map((lambda) => slotsFor(256, lambda))).toEqual([3, 4, 6, 8, 16])
  })

  it('of a slow node become as few as its link fills, and come back when it is fast again', () => {
    const adaptation = new LinkEnds()
    adaptation.reset(0, 16)
    for (let i = 0; i < 4; i++) adaptation.sample(0, 0.25, 3)
    expect(adaptation.fillable(0, 3)).toBe(1)
    for (let i = 0; i < 24; i++) adaptation.sample(0, 1, 3)
    expect(adaptation.fillable(0, 3)).toBe(3)
    expect(adaptation.isReduced(0)).toBe(false)
  })

  it('of a node are shared by all that it wants: no more than three transfers at once', () => {
    const cluster = new Cluster({ transferMs: 1000 })
    const holder = cluster.up('holder')
    const peer = cluster.up('peer')
    const digests = ALL(4).map((i) => `sha256:${String(i).repeat(64)}`)
    for (const digest of digests) cluster.holding(holder, 200, digest)
    for (const digest of digests) cluster.join(peer, 200, digest)
    cluster.run(50_000, () => {
      expect(cluster.core.node(peer.index).downloads).toBeLessThanOrEqual(3)
      expect(cluster.core.node(holder.index).uploads).toBeLessThanOrEqual(3)
      return false
    })
    const held = digests.map((digest) => peer.held.get(digest)?.size ?? 0)
    expect(held[0]).toBeGreaterThan(100)
    expect(held.slice(1)).toEqual([0, 0, 0])
  })

  it('take small blobs many at a time, as many as the node announced', () => {
    const small = (i: number) => `sha256:${i.toString(16).padStart(2, '0').repeat(32)}`
    for (const announced of [16, 5]) {
      const cluster = new Cluster({ transferMs: 1000 })
      const holder = cluster.up('holder', 'peer', announced)
      const peer = cluster.up('peer', 'peer', 16)
      for (const i of ALL(100)) cluster.holding(holder, 1 / 16, small(i))
      for (const i of ALL(100)) cluster.join(peer, 1 / 16, small(i))
      let most = 0
      cluster.run(4_000, () => {
        most = Math.max(most, cluster.core.node(peer.index).downloads)
        expect(cluster.core.node(holder.index).uploads).toBeLessThanOrEqual(announced)
        return false
      })
      expect(most).toBe(announced)
    }
  })

  it('have shares that add up exactly', () => {
    const KIB = 1024
    const shares = [0, 1, 16 * KIB, 16 * KIB + 1, 64 * KIB, 255 * KIB, 256 * KIB, 2 ** 40].map(slotShare)
    expect(shares).toEqual([1 / 16, 1 / 16, 1 / 16, 2 / 16, 4 / 16, 1, 1, 1])
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 300 * KIB })), (sizes) => {
        const all = sizes.map(slotShare)
        const left = all.reduce(
          (sum, share) => sum - share,
          all.reduce((sum, share) => sum + share, 0),
        )
        expect(left).toBe(0)
      }),
    )
  })

  it('go to a node that gets nothing at all before those who wait for what came first', () => {
    const cluster = new Cluster({ transferMs: 1000 })
    const holder = cluster.up('holder')
    for (const digest of [undefined, OTHER_DIGEST]) cluster.holding(holder, 200, digest)
    const crowd = ALL(6).map((i) => cluster.up(`peer-${i}`))
    for (const peer of crowd) cluster.join(peer, 200)
    const alone = cluster.up('alone')
    cluster.join(alone, 200, OTHER_DIGEST)
    cluster.run(20_000)
    expect(alone.held.get(OTHER_DIGEST)?.size).toBeGreaterThan(2)
  })

  it('of a seed that announces more than the nodes do are so many times as many', () => {
    const cluster = new Cluster({ transferMs: 1000 })
    const seed = cluster.up('seed', 'seed', 64)
    cluster.holding(seed, 200)
    for (const i of ALL(20)) cluster.join(cluster.up(`peer-${i}`, 'peer', 16), 200)
    cluster.run(1_500)
    expect(cluster.core.node(seed.index).uploads).toBe(12)
  })
})

describe('a transfer', () => {
  it('that has nearly ended frees its slots for the next', () => {
    const cluster = new Cluster({ transferMs: 1000 })
    const holder = cluster.up('holder')
    cluster.holding(holder, 40)
    const peer = cluster.up('peer')
    const swarm = cluster.join(peer, 40)
    cluster.run(100)
    const assigned = () => cluster.trace.filter((t) => t.kind === 'assign').map((t) => t.fields[2] as number)
    expect(assigned()).toHaveLength(2)
    cluster.core.pieceEnding(peer.index, swarm, assigned()[0] as number, holder.index)
    cluster.core.pieceEnding(peer.index, swarm, assigned()[0] as number, holder.index)
    cluster.tick()
    expect(assigned()).toHaveLength(3)
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
    expect(cluster.core.node(holder.index).uploads).toBe(0)
  })

  it('that hangs is begun once more with another holder', () => {
    const cluster = new Cluster()
    const holders = ALL(4).map((i) => cluster.up(`holder-${i}`))
    for (const holder of holders) cluster.holding(holder, 200)
    const peers = ALL(4).map((i) => cluster.up(`peer-${i}`))
    let swarm = 0
    for (const peer of peers) swarm = cluster.join(peer, 200)
    cluster.run(4_000)
    const [hung] = holders
    if (hung !== undefined) hung.breaks = 'silence'
    cluster.run(25_000, () => peers.every((peer) => cluster.hasAll(peer, swarm)))
    expect(peers.every((peer) => cluster.hasAll(peer, swarm))).toBe(true)
    expect(cluster.hedges).toBeGreaterThan(0)
    expect(cluster.core.counters.pieceFailures.timeout).toBe(0)
  })
})

describe('zones', () => {
  it('get each piece from outside once', () => {
    const cluster = new Cluster()
    const seed = cluster.up('seed', 'seed', 16, { zone: 'a' })
    cluster.holding(seed, 60)
    const zoneOf = new Map([[seed.index, 'a']])
    let swarm = 0
    for (const i of ALL(24)) {
      const zone = ['a', 'b', 'c'][i % 3] as string
      const peer = cluster.up(`peer-${i}`, 'peer', 16, { zone })
      zoneOf.set(peer.index, zone)
      swarm = cluster.join(peer, 60)
    }
    cluster.run()
    expect(cluster.core.swarm(swarm).wanting).toBe(0)
    const across = cluster.trace.filter(
      ({ kind, fields }) => kind === 'assign' && zoneOf.get(fields[0] as number) !== zoneOf.get(fields[3] as number),
    )
    expect(across).toHaveLength(120)
  })

  it('with a seed of their own get nothing from outside', () => {
    const cluster = new Cluster()
    for (const zone of ['a', 'b']) {
      cluster.holding(cluster.up(`seed-${zone}`, 'seed', 16, { zone }), 60)
      for (const i of ALL(6)) cluster.join(cluster.up(`${zone}-${i}`, 'peer', 16, { zone }), 60)
    }
    cluster.run()
    const zoneOf = (node: unknown) => cluster.core.node(node as number).zone
    const across = cluster.trace.filter((t) => t.kind === 'assign' && zoneOf(t.fields[0]) !== zoneOf(t.fields[3]))
    expect(across).toEqual([])
    expect([...cluster.members.values()].every(({ held }) => [...held.values()].every((set) => set.size === 60))).toBe(
      true,
    )
  })

  it('fall back on others when their own holder can not be reached', () => {
    const cluster = new Cluster()
    const near = cluster.up('near', 'peer', 16, { zone: 'b' })
    const far = cluster.up('far', 'peer', 16, { zone: 'a' })
    for (const holder of [near, far]) cluster.holding(holder, 20)
    near.breaks = 'unreachable'
    const peer = cluster.up('peer', 'peer', 16, { zone: 'b' })
    const swarm = cluster.join(peer, 20)
    cluster.run(20_000)
    expect(cluster.hasAll(peer, swarm)).toBe(true)
  })
})

describe('Flights', () => {
  it('finds what is on its way, whatever comes and goes', () => {
    const change = fc.record({ child: fc.nat(5), parent: fc.nat(5), piece: fc.nat(3), ends: fc.boolean() })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
        const flights = new Flights()
        const model: { flight: number; child: number; parent: number; piece: number }[] = []
        for (const [now, { child, parent, piece, ends }] of changes.entries()) {
          const known = model.findIndex((one) => one.child === child && one.parent === parent && one.piece === piece)
          if (known === -1) model.push({ flight: flights.begin(child, parent, piece, now), child, parent, piece })
          else if (ends) flights.end(model.splice(known, 1)[0]?.flight ?? -1)
          expect(flights.size).toBe(model.length)
          expect(flights.oldest).toBe(model[0]?.flight ?? -1)
          for (const one of model) expect(flights.find(one.child, one.piece, one.parent)).toBe(one.flight)
          const byAge: number[] = []
          for (let flight = flights.oldest; flight !== -1; flight = flights.newerThan(flight)) byAge.push(flight)
          expect(byAge).toEqual(model.map((one) => one.flight))
        }
      }),
    )
  })
})

describe('Pace', () => {
  it('measures the latency of control in pieces', () => {
    const pace = new Pace()
    // Three share a link that takes 100 ms for a piece; control takes 200 ms; ends are announced.
    for (let i = 0; i < 200; i++) pace.sample(300, 500, 3, true)
    expect(pace.lambda).toBeCloseTo(2)
    expect(pace.overdueMs(3, 0)).toBeCloseTo(3 * 300 + 2 * 200)
    expect(pace.ratio(600)).toBeCloseTo(0.5, 1)
  })
})
