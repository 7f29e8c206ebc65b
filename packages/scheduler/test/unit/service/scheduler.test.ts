import { status } from '@grpc/grpc-js'
import { digestOf } from '@shoal/core'
import { LeaseFailed_Reason, NodeRole } from '@shoal/proto'
import { describe, expect, it } from 'vitest'
import { connect, DIGEST, getJson, MAP, peerIds, SIZE, scheduler, sha256 } from './fixture.ts'

describe('the life of a swarm', () => {
  it('leases to the seed, assigns to peers, names each swarm and parent once and before its use', async () => {
    const seed = connect(0).hello({ role: NodeRole.SEED, name: 'seed', laneHost: 'seed.example', lanePort: 1 })
    const { schedulerId, bootstrap } = await seed.next('welcome')
    expect(schedulerId).not.toBe('')
    expect(bootstrap).toEqual([])
    const peer = connect(1).hello().join(DIGEST, SIZE)
    expect(await peer.next('welcome')).toEqual({
      schedulerId,
      bootstrap: [`/ip4/127.0.0.1/tcp/7412/p2p/${peerIds[0]}`],
      readsBatches: true,
      answersPings: true,
      hearsLeaseProgress: true,
      pieceRule: 2,
      uptimeMs: expect.any(Number),
    })
    const { swarm } = await peer.next('swarm')
    expect(await seed.next('swarm')).toEqual({ digest: DIGEST, swarm, size: SIZE })
    expect(await seed.next('lease')).toEqual({
      swarm,
      firstPiece: 0,
      pieceCount: 4,
      origin: { registry: 'docker.io', repository: 'library/busybox' },
    })
    for (let piece = 0; piece < 4; piece++) {
      seed.fromOrigin(swarm, piece, sha256(piece))
      const assignment = await peer.next('assignment')
      expect(assignment).toMatchObject({ swarm, piece, sha256: sha256(piece) })
      peer.say({
        $case: 'pieceDone',
        value: { swarm, piece, parent: assignment.parent, sha256: Buffer.alloc(0), durationUs: 9 },
      })
    }
    expect(peer.commands.map((command) => command.$case)).toEqual([
      'welcome',
      'swarm',
      'parent',
      'assignment',
      'assignment',
      'assignment',
      'assignment',
    ])
    expect(await peer.next('parent')).toMatchObject({
      peerId: peerIds[0],
      laneHost: 'seed.example',
      lanePort: 1,
      role: NodeRole.SEED,
      multiaddrs: [`/ip4/127.0.0.1/tcp/7412/p2p/${peerIds[0]}`],
    })

    // A late comer is served by the peer: it asks for no map, since the seed told all digests.
    const late = connect(2).hello().join(DIGEST, SIZE)
    expect(await late.next('parent')).toMatchObject({ peerId: peerIds[1], laneHost: '127.0.0.1', lanePort: 7411 })
    expect(seed.commands.filter((command) => command.$case === 'pieceMapWanted')).toEqual([])
  })

  it('answers pings, those of one message with one pong', async () => {
    const node = connect(0).hello()
    const ping = { $case: 'ping' as const, value: {} }
    node.say(...Array.from({ length: 1000 }, () => ping))
    await node.next('pong')
    node.say(ping)
    await node.next('pong')
    expect(node.commands.map((command) => command.$case)).toEqual(['welcome', 'pong', 'pong'])
  })

  it('takes over nodes that hold parts: names the swarm, asks for digests, hears of pieces it did not assign', async () => {
    const holder = connect(0).hello()
    holder.say({ $case: 'holdingPart', value: { digest: DIGEST, size: SIZE, have: Buffer.from([0b111]) } })
    const { swarm } = await holder.next('swarm')
    holder.say({ $case: 'pieceDone', value: { swarm, piece: 3, parent: 0, sha256: Buffer.alloc(0), durationUs: 0 } })
    const peer = connect(1).hello().join(DIGEST, SIZE)
    await holder.next('pieceMapWanted')
    holder.say({ $case: 'pieceMap', value: { digest: DIGEST, size: SIZE, sha256s: MAP } })
    const pieces = []
    for (let i = 0; i < 4; i++) {
      const { piece, parent } = await peer.next('assignment')
      pieces.push(piece)
      peer.say({ $case: 'pieceDone', value: { swarm, piece, parent, sha256: Buffer.alloc(0), durationUs: 9 } })
    }
    expect(pieces.sort()).toEqual([0, 1, 2, 3])
    expect(holder.commands.some((command) => command.$case === 'lease')).toBe(false)
  })

  it('asks a holder for the piece digests', async () => {
    const holder = connect(0).hello()
    holder.say({ $case: 'holding', value: { digest: DIGEST, size: SIZE } })
    await holder.next('welcome')
    const peer = connect(1).hello().join(DIGEST, SIZE)
    expect(await holder.next('pieceMapWanted')).toEqual({ digest: DIGEST })
    holder.say({ $case: 'pieceMap', value: { digest: DIGEST, size: SIZE, sha256s: MAP } })
    const { piece, sha256: digest } = await peer.next('assignment')
    expect(digest).toEqual(sha256(piece))
  })

  it('moves a lease on, and says when nobody can carry it out', async () => {
    const seed = connect(0).hello({ role: NodeRole.SEED })
    await seed.next('welcome')
    const peer = connect(1).hello().join(DIGEST, SIZE)
    const { swarm } = await seed.next('lease')
    seed.say({ $case: 'leaseFailed', value: { swarm, reason: LeaseFailed_Reason.UNAUTHORIZED } })
    const lease = await peer.next('lease')
    peer.say({ $case: 'leaseFailed', value: { swarm: lease.swarm, reason: LeaseFailed_Reason.UNAUTHORIZED } })
    expect(await peer.next('swarmFailed')).toEqual({ swarm, reason: LeaseFailed_Reason.UNAUTHORIZED })
    peer.join(DIGEST, SIZE)
    expect((await seed.next('lease')).pieceCount).toBe(4)
  })

  it('notices that a node died: its lease moves on', async () => {
    const seed = connect(0).hello({ role: NodeRole.SEED })
    await seed.next('welcome')
    const peer = connect(1).hello().join(DIGEST, SIZE)
    await seed.next('lease')
    seed.die()
    expect((await peer.next('lease')).pieceCount).toBe(4)
  })

  it('ends the old stream when the same node opens another', async () => {
    const before = connect(0).hello()
    await before.next('welcome')
    const after = connect(0).hello().join(DIGEST, SIZE)
    expect(await before.ended).toEqual({ code: status.ABORTED, message: 'the same node opened another stream' })
    await after.next('lease')
    expect((await getJson('/api/v1/nodes')).nodes).toHaveLength(1)
  })

  it('takes a join with another size for another blob, and ends it alone when the origin refutes the size', async () => {
    const holder = connect(0).hello()
    holder.say({ $case: 'holding', value: { digest: DIGEST, size: SIZE } })
    await holder.next('welcome')
    const peer = connect(1)
      .hello()
      .join(DIGEST, SIZE + 1)
    const { swarm, size } = await peer.next('swarm')
    expect(size).toBe(SIZE + 1)
    const honest = connect(2).hello().join(DIGEST, SIZE)
    const { swarm: right } = await honest.next('swarm')
    expect(right).not.toBe(swarm)
    expect(await peer.next('lease')).toMatchObject({ swarm, pieceCount: 4 })
    peer.say({ $case: 'leaseFailed', value: { swarm, reason: LeaseFailed_Reason.SIZE_MISMATCH } })
    expect(await peer.next('swarmFailed')).toEqual({ swarm, reason: LeaseFailed_Reason.SIZE_MISMATCH })
    expect((await holder.next('pieceMapWanted')).digest).toBe(DIGEST)
    holder.say({ $case: 'pieceMap', value: { digest: DIGEST, size: SIZE, sha256s: MAP } })
    await honest.next('assignment')
    const { size: shown } = await getJson(`/api/v1/swarms/${DIGEST}`)
    expect(shown).toBe(SIZE)
    expect(honest.commands.some(({ $case }) => $case === 'swarmFailed')).toBe(false)
  })

  it('answers the events of one message with one response', async () => {
    const node = connect(0)
    node.hello()
    await node.next('welcome')
    const before = node.batches.length
    const joins = Array.from({ length: 50 }, (_, i) => ({
      $case: 'join' as const,
      value: {
        digest: digestOf(`blob ${i}`),
        size: 1,
        have: Buffer.alloc(0),
        origin: { registry: 'localhost:5000', repository: 'a/b' },
        priority: 0 as const,
      },
    }))
    node.say(...joins)
    for (let i = 0; i < 50; i++) await node.next('lease')
    expect(node.batches.slice(before)).toEqual([100])
  })

  it('ends the streams when it stops', async () => {
    const node = connect(0).hello()
    await node.next('welcome')
    await scheduler.stop()
    expect(await node.ended).toEqual({ code: status.OK, message: '' })
  })
})
