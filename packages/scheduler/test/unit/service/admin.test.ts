import { createLogger } from '@shoal/core'
import { NodeRole } from '@shoal/proto'
import { describe, expect, it } from 'vitest'
import { schedulerService } from '../../../src/index.ts'
import {
  connect,
  DIGEST,
  get,
  getJson,
  OTHER_DIGEST,
  options,
  PIECE,
  peerIds,
  SIZE,
  scheduler,
  sha256,
} from './fixture.ts'

describe('the admin server', () => {
  it('shows nodes and swarms', async () => {
    const seed = connect(0).hello({ role: NodeRole.SEED, name: 'the seed' })
    await seed.next('welcome')
    const peer = connect(1).hello({ name: 'the peer' }).join(DIGEST, SIZE)
    const { swarm } = await seed.next('lease')
    seed.fromOrigin(swarm, 0, sha256(0))
    const { parent, piece } = await peer.next('assignment')
    const { nodes: shown } = (await getJson('/api/v1/nodes')) as { nodes: Record<string, unknown>[] }
    expect(shown.find((node) => node.name === 'the seed')).toMatchObject({
      id: peerIds[0],
      role: 'seed',
      labels: { zone: 'a' },
      swarms: 1,
      leases: 1,
      pieces: { sent: 0, received: 1 },
      slots: { upload: { used: 1, total: 16 } },
    })
    peer.say({ $case: 'pieceDone', value: { swarm, piece, parent, sha256: Buffer.alloc(0), durationUs: 1 } })
    seed.fromOrigin(swarm, 1, sha256(1))
    await peer.next('assignment')
    const view = {
      digest: DIGEST,
      size: SIZE,
      pieces: 4,
      nodes: 2,
      waiting: 1,
      holders: 2,
      complete: 0,
      leases: [{ node: peerIds[0], piecesLeft: 2 }],
      originBytes: 2 * PIECE,
      bytesBySource: { origin: 2 * PIECE, seed: PIECE, peer: 0 },
    }
    expect(await getJson('/api/v1/swarms')).toMatchObject({ swarms: [view] })
    const page = await getJson(`/api/v1/swarms/${DIGEST}`)
    expect(page).toMatchObject(view)
    expect(page.members).toHaveLength(2)
  })

  it('shows what flows, and what crosses zones', async () => {
    const seed = connect(0).hello({ role: NodeRole.SEED, labels: { zone: 'a', rack: 'r1' } })
    await seed.next('welcome')
    const peer = connect(1).hello({ labels: { 'topology.kubernetes.io/zone': 'b' }, readsBatches: true })
    peer.join(DIGEST, SIZE)
    const { swarm } = await seed.next('lease')
    seed.fromOrigin(swarm, 0, sha256(0))
    const { pieces, parents, sha256s } = await peer.next('assignments')
    expect(pieces).toEqual([0])
    expect(sha256s.equals(sha256(0))).toBe(true)
    peer.say({ $case: 'piecesDone', value: { swarm, pieces, parents, durationsUs: [1000] } })
    seed.fromOrigin(swarm, 1, sha256(1))
    await peer.next('assignments')
    const { nodes: shown } = (await getJson('/api/v1/nodes')) as { nodes: Record<string, unknown>[] }
    expect(shown.find((node) => node.role === 'seed')).toMatchObject({
      zone: 'a',
      rack: 'r1',
      bytesPerSecond: { up: expect.toSatisfy((rate) => rate > 0), down: expect.toSatisfy((rate) => rate > 0) },
    })
    expect(shown.find((node) => node.role === 'peer')).toMatchObject({ zone: 'b', rack: '', isBlocked: false })
    expect(await getJson(`/api/v1/swarms/${DIGEST}`)).toMatchObject({
      progress: 3 / 8,
      inFlight: 1,
      crossZoneBytes: PIECE,
      originBytes: 2 * PIECE,
      originCopies: (2 * PIECE) / SIZE,
      bytesPerSecond: expect.toSatisfy((rate) => rate > 0),
    })
    expect(await getJson('/api/v1/zones')).toEqual({
      zones: [
        { zone: 'a', nodes: 1, crossZoneBytes: { in: 0, out: PIECE } },
        { zone: 'b', nodes: 1, crossZoneBytes: { in: PIECE, out: 0 } },
      ],
    })
    const text = await (await get('/metrics')).text()
    expect(text).toContain(`shoal_scheduler_cross_zone_bytes_total ${PIECE}`)
    expect(text).toContain('shoal_scheduler_zones 2')
    expect(text).toContain('shoal_scheduler_transfers_in_flight 1')
    expect(text).toContain('shoal_scheduler_blocked_streams 0')
    expect(text).toContain(`shoal_scheduler_origin_copies{stat="max"} ${(2 * PIECE) / SIZE}`)
    expect(text).toMatch(/shoal_scheduler_bytes_per_second [1-9]/)
    expect(text).not.toContain(DIGEST)
    expect(text).not.toContain(peerIds[0])
  })

  it('answers what it does not know with a message', async () => {
    expect(await getJson('/api/v1/swarms/nonsense')).toEqual({ message: expect.stringContaining('sha256:') })
    const missing = await get(`/api/v1/swarms/${OTHER_DIGEST}`)
    expect(missing.status).toBe(404)
    expect(await missing.json()).toEqual({ message: `no connected node holds or wants ${OTHER_DIGEST}` })
    expect((await get('/nothing')).status).toBe(404)
    expect((await get('/readyz')).status).toBe(200)
    expect((await get('/healthz')).status).toBe(200)
  })

  it('shows a blob that is held but not wanted', async () => {
    const node = connect(0).hello()
    node.say({ $case: 'holding', value: { digest: DIGEST, size: SIZE } })
    await node.next('welcome')
    expect(await getJson(`/api/v1/swarms/${DIGEST}`)).toEqual({ digest: DIGEST, size: SIZE, waiting: 0, complete: 1 })
  })

  it('counts', async () => {
    const node = connect(0).hello().join(DIGEST, SIZE)
    const { swarm } = await node.next('lease')
    for (let piece = 0; piece < 4; piece++) node.fromOrigin(swarm, piece, sha256(piece))
    node.join(OTHER_DIGEST, 1)
    await node.next('lease')
    const text = await (await get('/metrics')).text()
    expect(text).toContain('shoal_scheduler_nodes{role="peer"} 1')
    expect(text).toContain('shoal_scheduler_leases_total{outcome="done"} 1')
    expect(text).toContain('shoal_scheduler_leases_total{outcome="granted"} 2')
    expect(text).toContain(`shoal_scheduler_bytes_total{source="origin"} ${SIZE}`)
    expect(text).toMatch(/shoal_scheduler_messages_total\{direction="in"\} [1-9]/)
    expect(text).toMatch(/shoal_scheduler_messages_total\{direction="out"\} [1-9]/)
    expect(text).toMatch(/shoal_scheduler_tick_seconds_count [1-9]/)
  })
})

describe('starting', () => {
  it('says which port is in use, and leaves nothing running', async () => {
    const port = Number((scheduler.addresses().grpc as string).split(':')[1])
    const second = await schedulerService.create(options(port), createLogger('scheduler', 'silent'))
    await expect(second.start()).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: expect.stringContaining(`127.0.0.1:${port}: the port is in use`),
    })
    expect(second.addresses().admin).toBe('http://127.0.0.1:0')
  })
})
