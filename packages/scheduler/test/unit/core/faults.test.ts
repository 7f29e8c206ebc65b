import { HaveSet } from '@shoal/core'
import { describe, expect, it } from 'vitest'
import { GONE } from '../../../src/core/events.ts'
import { Cluster, DIGEST, OTHER_DIGEST, shaOf, sizeOf, THE_ORIGIN } from './cluster.ts'

const ALL = (n: number) => Array.from({ length: n }, (_, i) => i)

/** `holders` nodes with the blob and one that wants it. */
function holdersAndPeer(holders: number, pieces: number, role: 'peer' | 'seed' = 'peer') {
  const cluster = new Cluster()
  const good = ALL(holders).map((i) => cluster.up(`holder-${i}`, role))
  for (const holder of good) cluster.holding(holder, pieces)
  const peer = cluster.up('peer')
  const swarm = cluster.join(peer, pieces)
  return { cluster, holders: good, peer, swarm }
}

describe('failed pieces', () => {
  it.each(['busy', 'unreachable', 'stalled', 'protocol', 'corrupt', 'not_held', 'silence'] as const)(
    'by %s are fetched from others',
    (how) => {
      const { cluster, holders, peer, swarm } = holdersAndPeer(2, 40)
      const [bad, good] = holders as [(typeof holders)[0], (typeof holders)[0]]
      bad.breaks = how
      cluster.run()
      expect(cluster.hasAll(peer, swarm)).toBe(true)
      expect(good.sent).toBe(40)
    },
  )

  it('leave the pair alone for a while, then try again', () => {
    const { cluster, holders, peer, swarm } = holdersAndPeer(1, 40)
    const [holder] = holders as [(typeof holders)[0]]
    holder.breaks = 'unreachable'
    cluster.run(3_000)
    const tried = cluster.trace.filter((t) => t.kind === 'assign').length
    expect(tried).toBe(2)
    delete holder.breaks
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
  })

  it('that hang at a seed are fetched from another seed, though it is of another zone', () => {
    const cluster = new Cluster()
    const bad = cluster.up('bad', 'seed')
    const good = cluster.up('good', 'seed', 1, { zone: 'far' })
    const peer = cluster.up('peer')
    for (const seed of [bad, good]) cluster.holding(seed, 40)
    const swarm = cluster.join(peer, 40)
    // Long enough to know how long a transfer takes.
    cluster.run(60_000, () => peer.received > 35)
    bad.breaks = 'silence'
    const { now } = cluster
    cluster.run(60_000, () => cluster.hasAll(peer, swarm))
    expect(cluster.hasAll(peer, swarm)).toBe(true)
    expect(cluster.now - now).toBeLessThan(3_000)
  })

  it('tell a peer that no live node can serve to use another way', () => {
    const { cluster, holders, peer } = holdersAndPeer(1, 40)
    ;(holders[0] as (typeof holders)[0]).breaks = 'unreachable'
    cluster.run(60_000)
    expect(cluster.failures).toEqual([{ node: peer.index, reason: 'unavailable' }])
  })

  it('that only time out end the wait, even while transfers are under way', () => {
    const { cluster, holders, peer } = holdersAndPeer(2, 40)
    for (const holder of holders) holder.breaks = 'silence'
    cluster.run(600_000)
    expect(cluster.failures).toEqual([{ node: peer.index, reason: 'unavailable' }])
  })

  it('stop a parent from being used that three nodes can not reach', () => {
    const { cluster, holders, swarm } = holdersAndPeer(1, 40)
    const [holder] = holders as [(typeof holders)[0]]
    holder.breaks = 'unreachable'
    for (const i of ALL(3)) cluster.join(cluster.up(`other-${i}`), 40)
    cluster.run(1_000, () => cluster.core.node(holder.index).isPaused)
    expect(cluster.core.node(holder.index).isPaused).toBe(true)
    const { peerOf, zones } = cluster.core.swarm(swarm)
    expect(zones.some(({ senders }) => senders.has(peerOf.get(holder.index) as number))).toBe(false)
    const pausesMs = [1, 2, 3].map(() => {
      cluster.run(60_000, () => cluster.core.node(holder.index).isPaused)
      const pauseMs = cluster.core.node(holder.index).pausedUntil - cluster.now
      cluster.run(60_000, () => !cluster.core.node(holder.index).isPaused)
      return Math.round(pauseMs / 1000) * 1000
    })
    expect(pausesMs).toEqual([2_000, 4_000, 8_000])
    expect(cluster.core.counters.pauses).toBe(3)
  })

  it('with wrong bytes are leased again when nobody else holds them', () => {
    const { cluster, holders, peer, swarm } = holdersAndPeer(1, 1)
    const [holder] = holders as [(typeof holders)[0]]
    cluster.up('seed', 'seed')
    holder.breaks = 'corrupt'
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
    expect(cluster.originReads.size).toBeGreaterThan(0)
    expect(holder.sent).toBe(0)
  })

  it('with wrong bytes for two nodes ban the parent, also after it reconnects', () => {
    const { cluster, holders, peer, swarm } = holdersAndPeer(2, 40)
    const [bad] = holders as [(typeof holders)[0]]
    bad.breaks = 'corrupt'
    const other = cluster.up('other')
    cluster.join(other, 40)
    cluster.run()
    expect(cluster.core.node(bad.index).isBanned).toBe(true)
    expect(cluster.hasAll(peer, swarm) && cluster.hasAll(other, swarm)).toBe(true)
    cluster.down(bad)
    const again = cluster.up('holder-0')
    cluster.holding(again, 40)
    expect(cluster.core.blobs.of(DIGEST)[0]?.holders.has(again.index)).toBe(false)
    cluster.now += 600_001
    cluster.join(cluster.up('third'), 40)
    cluster.run()
    expect(cluster.core.node(again.index).isBanned).toBe(false)
  })

  it('reported by one node alone do not ban the parent for others', () => {
    const { cluster, holders, peer, swarm } = holdersAndPeer(1, 40)
    const [holder] = holders as [(typeof holders)[0]]
    cluster.tick()
    cluster.tick()
    const piece = cluster.trace.find((t) => t.kind === 'assign')?.fields[2] as number
    cluster.core.pieceFailed(peer.index, swarm, piece, holder.index, 'corrupt')
    expect(cluster.core.node(holder.index).isBanned).toBe(false)
    expect(cluster.core.counters.pieceFailures.corrupt).toBe(1)
  })

  it('that the node can not store take it out of the swarm', () => {
    const { cluster, holders, peer } = holdersAndPeer(1, 40)
    ;(holders[0] as (typeof holders)[0]).breaks = 'local'
    cluster.run()
    expect(cluster.failures).toEqual([{ node: peer.index, reason: 'local' }])
  })
})

describe('events that do not fit', () => {
  it('are refused or ignored', () => {
    const { cluster, holders, peer, swarm } = holdersAndPeer(1, 4)
    const [holder] = holders as [(typeof holders)[0]]
    const { core } = cluster
    expect(() => core.pieceDone(peer.index, swarm, 4, holder.index, undefined)).toThrow('no piece 4')
    expect(() => core.pieceFailed(peer.index, swarm, 4, holder.index, 'busy')).toThrow('no piece 4')
    expect(() => core.pieceMap(holder.index, DIGEST, sizeOf(4), new Uint8Array(5))).toThrow('not 128')
    // Its digest is not known yet, and none comes with it.
    core.pieceDone(peer.index, swarm, 0, GONE, undefined)
    expect(core.swarm(swarm).peers.haveCount[core.swarm(swarm).peerOf.get(peer.index) as number]).toBe(0)
    core.pieceDone(peer.index, 999, 0, holder.index, undefined)
    core.pieceFailed(holder.index, swarm, 0, peer.index, 'corrupt')
    core.leaseFailed(peer.index, swarm, 'unavailable')
    core.leave(peer.index, OTHER_DIGEST)
    core.withdrawn(peer.index, OTHER_DIGEST)
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
  })

  it('contradict a digest that is known: the piece does not count', () => {
    const { cluster, peer, swarm } = holdersAndPeer(1, 4)
    cluster.tick()
    cluster.core.pieceDone(peer.index, swarm, 3, -1, new Uint8Array(32).fill(9))
    expect(cluster.core.counters.digestConflicts).toBe(1)
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
  })

  it('as a piece that was never assigned count all the same', () => {
    const { cluster, peer, swarm } = holdersAndPeer(1, 40)
    cluster.tick()
    peer.held.get(DIGEST)?.add(39)
    cluster.core.pieceDone(peer.index, swarm, 39, GONE, undefined)
    cluster.run()
    expect(peer.received).toBe(39)
  })

  it('as a piece that another scheduler had assigned, of unknown digest: its holder is asked, and gives it on', () => {
    const cluster = new Cluster()
    const [holder, peer] = [cluster.up('holder'), cluster.up('peer')]
    cluster.join(holder, 4)
    const swarm = cluster.join(peer, 4)
    for (const piece of [0, 1, 2, 3]) {
      holder.held.get(DIGEST)?.add(piece)
      cluster.core.pieceHeld(holder.index, swarm, piece)
    }
    expect(() => cluster.core.pieceHeld(holder.index, swarm, 4)).toThrow('no piece 4')
    cluster.core.pieceHeld(holder.index, 999, 0)
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
    expect(cluster.originReads.size).toBe(0)
    expect(cluster.core.counters.bytes).toEqual({ origin: 0, seed: 0, peer: sizeOf(4) })
  })

  it('as a join of a blob held whole, twice, with less, or with another size', () => {
    const { cluster, holders, peer, swarm } = holdersAndPeer(2, 4)
    const [a] = holders as [(typeof holders)[0]]
    const have = new HaveSet(4)
    for (const piece of ALL(4)) have.add(piece)
    const info = { digest: DIGEST, sizeBytes: sizeOf(4), have, origin: THE_ORIGIN, priority: 1 }
    expect(cluster.core.join(a.index, info)).toBe(swarm)
    expect(cluster.core.swarm(swarm).wanting).toBe(1)
    // It lost the blob, and says so by joining with nothing.
    cluster.join(a, 4)
    expect(cluster.core.swarm(swarm).wanting).toBe(2)
    cluster.join(a, 4)
    expect(cluster.core.swarm(swarm).wanting).toBe(2)
    cluster.run()
    expect(cluster.hasAll(a, swarm) && cluster.hasAll(peer, swarm)).toBe(true)
  })

  it('as a join without a piece that was spoilt: the piece is sent again', () => {
    const { cluster, holders, swarm } = holdersAndPeer(1, 4)
    const [a] = holders as [(typeof holders)[0]]
    a.breaks = 'corrupt'
    cluster.run(600_000, () => cluster.core.counters.pieceFailures.corrupt === 1)
    const [key] = cluster.core.swarm(swarm).blamed
    expect(key).toBeDefined()
    delete a.breaks
    cluster.holding(cluster.up('another'), 4)
    cluster.join(
      a,
      4,
      DIGEST,
      ALL(4).filter((piece) => piece !== (key as number) % 4),
    )
    cluster.run(600_000, () => cluster.hasAll(a, swarm))
    expect(cluster.hasAll(a, swarm)).toBe(true)
    expect(a.received).toBe(1)
  })
})

describe('memory', () => {
  it('is given back when nobody wants or holds a blob', () => {
    const { cluster, holders, peer } = holdersAndPeer(2, 40)
    cluster.run()
    expect(cluster.core.blobs.size).toBe(1)
    for (const node of [...holders, peer]) cluster.down(node)
    cluster.run()
    expect(cluster.core.blobs.size).toBe(0)
    expect(cluster.core.swarms.size).toBe(0)
    expect(cluster.core.dueAt()).toBeUndefined()
  })

  it('keeps holders but not the tables of swarms that are long idle', () => {
    const cluster = new Cluster()
    const peer = cluster.up('peer')
    for (let i = 0; i < 1100; i++) {
      cluster.join(peer, 1, `sha256:${i.toString(16).padStart(64, '0')}`)
      cluster.run()
    }
    expect(cluster.core.blobs.size).toBe(1100)
    expect(cluster.core.swarms.size).toBe(1024)
    const other = cluster.up('other')
    cluster.join(other, 1, `sha256:${''.padStart(64, '0')}`)
    cluster.run()
    expect(other.received).toBe(1)
  })

  it('a withdrawn blob is fetched from elsewhere', () => {
    const { cluster, holders, peer, swarm } = holdersAndPeer(1, 4)
    const [holder] = holders as [(typeof holders)[0]]
    cluster.core.withdrawn(holder.index, DIGEST)
    cluster.run()
    expect(cluster.hasAll(peer, swarm)).toBe(true)
    expect(holder.sent).toBe(0)
    expect(cluster.originReads.size).toBe(4)
    expect(shaOf(DIGEST, 0).equals(cluster.core.sha256(swarm, 0))).toBe(true)
  })
})
