import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Cluster, DIGEST, OTHER_DIGEST, type Trace } from './cluster.ts'

const REFUSALS = [undefined, 'unauthorized', 'not_found', 'unavailable', 'silence', 'local'] as const
const BREAKS = [undefined, 'unreachable', 'busy', 'not_held', 'corrupt', 'stalled', 'silence'] as const
const MAPS = ['right', 'zeros', 'silence'] as const

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('up' as const),
      isSeed: fc.boolean(),
      slots: fc.integer({ min: 1, max: 5 }),
      zone: fc.nat(2),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('join' as const),
      node: fc.nat(),
      blob: fc.nat(1),
      have: fc.array(fc.nat(39), { maxLength: 20 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('holding' as const), node: fc.nat(), blob: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), node: fc.nat(), blob: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('down' as const), node: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('refuse' as const), node: fc.nat(), how: fc.nat(REFUSALS.length - 1) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('break' as const), node: fc.nat(), how: fc.nat(BREAKS.length - 1) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('map' as const), node: fc.nat(), how: fc.nat(MAPS.length - 1) }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('run' as const), ms: fc.integer({ min: 1, max: 3_000 }) }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

const BLOBS = [
  { digest: DIGEST, pieces: 20 },
  { digest: OTHER_DIGEST, pieces: 40 },
] as const

/** Every step that does harm is left out, so that all who join must end with the blob. */
const isHarmless = (s: Step) => ['up', 'join', 'run', 'holding'].includes(s.do)

function play(steps: readonly Step[], seed: number): { cluster: Cluster; trace: readonly Trace[] } {
  const mostLeases = seed % 2 === 0 ? 1 : 2
  const cluster = new Cluster({ seed, mostLeases })
  cluster.announces = 0.5
  cluster.up('first-seed', 'seed')
  cluster.up('first-peer')
  let count = 0
  const wanted = new Map<string, number>()
  for (const s of steps) {
    const live = [...cluster.members.values()].filter((member) => member.isUp)
    const pick = (node: number) => live[node % live.length]
    switch (s.do) {
      case 'up':
        cluster.up(`node-${count++}`, s.isSeed ? 'seed' : 'peer', s.slots, { zone: `${s.zone}` })
        break
      case 'run':
        cluster.run(s.ms)
        break
      default: {
        const member = pick(s.node)
        if (member === undefined) break
        if (s.do === 'down') cluster.down(member)
        else if (s.do === 'refuse') assignOrDelete(member, 'refuses', REFUSALS[s.how])
        else if (s.do === 'break') assignOrDelete(member, 'breaks', BREAKS[s.how])
        else if (s.do === 'map') member.map = MAPS[s.how] ?? 'right'
        else {
          const blob = BLOBS[s.blob] ?? BLOBS[0]
          if (s.do === 'leave') cluster.leave(member, blob.digest)
          // A node that has a blob does not forget it here: the cluster checks who has what.
          else if (s.do === 'join' && wanted.get(`${member.index}:${member.name}:${s.blob}`) === undefined) {
            wanted.set(`${member.index}:${member.name}:${s.blob}`, 1)
            const [known] = cluster.core.blobs.of(blob.digest)
            if (known?.holders.has(member.index) === true || known?.swarm?.peerOf.has(member.index) === true) break
            cluster.join(
              member,
              blob.pieces,
              blob.digest,
              [...new Set(s.have)].filter((piece) => piece < blob.pieces),
            )
          } else if (s.do === 'holding' && wanted.get(`${member.index}:${member.name}:${s.blob}`) === undefined) {
            wanted.set(`${member.index}:${member.name}:${s.blob}`, 1)
            cluster.holding(member, blob.pieces, blob.digest)
          }
        }
      }
    }
    checkBooks(cluster)
  }
  return { cluster, trace: cluster.trace }
}

function assignOrDelete<T extends object, K extends keyof T>(target: T, key: K, value: T[K] | undefined): void {
  if (value === undefined) delete target[key]
  else target[key] = value
}

/** The core's own tables agree with each other. */
function checkBooks(cluster: Cluster): void {
  const leased = [...cluster.core.swarms.values()].filter(({ lease }) => lease !== undefined).length
  expect(cluster.core.leases.granted).toBe(leased)
  expect(leased).toBeLessThanOrEqual(cluster.mostLeases)
  const uploads = new Map<number, number>()
  const downloads = new Map<number, number>()
  for (const swarm of cluster.core.swarms.values()) {
    const { peers, words } = swarm
    const counted = new Int32Array(swarm.pieces)
    let wanting = 0
    for (const [node, peer] of swarm.peerOf) {
      expect(peers.node[peer]).toBe(node)
      if (peers.is(peer, 1)) wanting++
      for (let piece = 0; piece < swarm.pieces; piece++) {
        const at = peer * words + (piece >>> 5)
        const has = ((peers.have[at] as number) >>> (piece & 31)) & 1
        const taken = ((peers.taken[at] as number) >>> (piece & 31)) & 1
        if (taken === 1 && !peers.is(peer, 6) && !swarm.blamed.has(peer * swarm.pieces + piece)) {
          counted[piece] = (counted[piece] as number) + 1
        }
        expect(has).toBeLessThanOrEqual(taken)
        if (has === 1) expect(piece).toBeLessThanOrEqual(peers.lastHave[peer] as number)
        if (taken === 0) expect(piece).toBeGreaterThanOrEqual(peers.firstOpen[peer] as number)
      }
      const { flights } = swarm
      let taken = 0
      for (let flight = flights.firstTo(peer); flight !== -1; flight = flights.nextTo(flight)) {
        expect(flights.child(flight)).toBe(peer)
        const parent = peers.node[flights.parent(flight)] as number
        if (flights.takesParentSlot(flight)) uploads.set(parent, (uploads.get(parent) ?? 0) + 1)
        if (!flights.takesChildSlot(flight)) continue
        taken++
        downloads.set(node, (downloads.get(node) ?? 0) + 1)
      }
      expect(peers.downloads[peer]).toBe(taken)
      expect(taken).toBeLessThanOrEqual(swarm.slots)
    }
    expect(swarm.wanting).toBe(wanting)
    expect(swarm.rarity.counts).toEqual(counted)
  }
  for (const member of cluster.members.values()) {
    if (!member.isUp) continue
    const node = cluster.core.node(member.index)
    expect(node.uploads).toBe(uploads.get(member.index) ?? 0)
    expect(node.downloads).toBe(downloads.get(member.index) ?? 0)
    expect(node.uploads).toBeLessThanOrEqual(member.uploadSlots)
    expect(node.downloads).toBeLessThanOrEqual(member.downloadSlots)
  }
}

describe('whatever happens', () => {
  it('commands are sound and the books agree', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(1000), (steps, seed) => {
        play(steps, seed)
      }),
      { numRuns: 200 },
    )
  })

  it('everybody gets everything when nothing fails, and no piece is leased twice', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.nat(1000), (steps, seed) => {
        const { cluster } = play(steps.filter(isHarmless), seed)
        cluster.run()
        expect(cluster.failures).toEqual([])
        for (const swarm of cluster.core.swarms.values()) expect(swarm.wanting).toBe(0)
        expect([...cluster.originReads.values()].every((reads) => reads === 1)).toBe(true)
        checkBooks(cluster)
      }),
      { numRuns: 200 },
    )
  })

  it('nothing is left when all nodes are gone', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(1000), (steps, seed) => {
        const { cluster } = play(steps, seed)
        for (const member of cluster.members.values()) cluster.down(member)
        cluster.run()
        const { core } = cluster
        expect([core.swarms.size, core.blobs.size, [...core.nodes()].length]).toEqual([0, 0, 0])
        expect(core.dueAt()).toBeUndefined()
      }),
      { numRuns: 100 },
    )
  })

  it('nobody waits for ever: each gets the blob or is told to use another way', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(1000), (steps, seed) => {
        const { cluster } = play(steps, seed)
        cluster.run(3_600_000)
        for (const swarm of cluster.core.swarms.values()) expect(swarm.wanting).toBe(0)
      }),
      { numRuns: 200 },
    )
  })

  it('equal events and equal randomness give equal commands', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.nat(1000), (steps, seed) => {
        expect(play(steps, seed).trace).toEqual(play(steps, seed).trace)
      }),
      { numRuns: 50 },
    )
  })
})
