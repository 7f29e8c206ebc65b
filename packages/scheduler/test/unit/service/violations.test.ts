import { credentials, makeGenericClientConstructor, status } from '@grpc/grpc-js'
import { NodeRole, PieceFailed_Reason, SchedulerServiceService } from '@shoal/proto'
import { describe, expect, it } from 'vitest'
import { connect, DIGEST, getJson, MAP, SIZE, scheduler, sha256 } from './fixture.ts'
import type { ScriptedNode } from './scripted-node.ts'

describe('what a node may not say', () => {
  const origin = { registry: 'docker.io', repository: 'a/b' }
  const none = Buffer.alloc(0)
  const ones = (count: number) => new Array<number>(count).fill(1)

  it.each([
    [
      'pieces of another size',
      { pieceRule: 0 },
      'hello.piece_rule is 0, not 2: node and scheduler cut blobs into different pieces; run the same',
    ],
    ['a bad peer id', { peerId: 'x' }, 'hello.peer_id'],
    ['no role', { role: NodeRole.UNSPECIFIED }, 'hello.role'],
    ['an unknown role', { role: 9 as NodeRole }, 'hello.role'],
    ['a long name', { name: 'ä'.repeat(128) }, 'hello.name'],
    ['a bad host', { laneHost: 'a b' }, 'hello.lane_host'],
    ['port 0', { lanePort: 0 }, 'hello.lane_port'],
    ['port 65536', { lanePort: 65536 }, 'hello.lane_port'],
    ['no slots', { uploadSlots: 0 }, 'hello.upload_slots'],
    ['many slots', { downloadSlots: 1025 }, 'hello.download_slots'],
    ['many addresses', { multiaddrs: Array(17).fill('/ip4/1.2.3.4') as string[] }, 'hello.multiaddrs'],
    ['a bad address', { multiaddrs: ['1.2.3.4'] }, 'hello.multiaddrs'],
    [
      'many labels',
      { labels: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v'])) },
      'hello.labels',
    ],
    ['a long label', { labels: { a: 'x'.repeat(256) } }, 'hello.labels'],
    ['a long version', { version: 'x'.repeat(129) }, 'hello.version'],
  ])('in hello: %s', async (_name, changes, message) => {
    const node = connect(0).hello(changes)
    const end = await node.ended
    expect(end.code).toBe(status.INVALID_ARGUMENT)
    expect(end.message).toContain(message)
    expect((await getJson('/api/v1/nodes')).nodes).toEqual([])
  })

  const BAD: [string, Parameters<ScriptedNode['say']>[0], string][] = [
    [
      'pieces without parents',
      { $case: 'piecesDone', value: { swarm: 1, pieces: [0], parents: [], durationsUs: [1] } },
      'pieces_done must name',
    ],
    [
      'no pieces',
      { $case: 'piecesDone', value: { swarm: 1, pieces: [], parents: [], durationsUs: [] } },
      'pieces_done must name',
    ],
    [
      'very many pieces at once',
      {
        $case: 'piecesDone',
        value: { swarm: 1, pieces: ones(10_001), parents: ones(10_001), durationsUs: ones(10_001) },
      },
      'at most 10000 pieces',
    ],
    [
      'pieces of a swarm that was not named',
      { $case: 'piecesDone', value: { swarm: 99, pieces: [0], parents: [1], durationsUs: [1] } },
      'swarm 99 was not named',
    ],
    [
      'hello twice',
      {
        $case: 'hello',
        value: {
          peerId: '',
          name: '',
          role: 1,
          laneHost: '',
          lanePort: 1,
          multiaddrs: [],
          uploadSlots: 1,
          downloadSlots: 1,
          labels: {},
          version: '',
          readsBatches: false,
          pieceRule: 2,
        },
      },
      'hello may be sent once',
    ],
    ['a bad digest', { $case: 'holding', value: { digest: 'sha256:0', size: 1 } }, 'holding.digest'],
    ['size 0', { $case: 'holding', value: { digest: DIGEST, size: 0 } }, 'holding.size'],
    ['a bad withdrawal', { $case: 'withdrawn', value: { digest: '' } }, 'withdrawn.digest'],
    ['a bad leave', { $case: 'leave', value: { digest: '' } }, 'leave.digest'],
    [
      'a join without origin',
      { $case: 'join', value: { digest: DIGEST, size: 1, have: none, origin: undefined, priority: 0 } },
      'join.origin',
    ],
    [
      'a join with a bad repository',
      {
        $case: 'join',
        value: { digest: DIGEST, size: 1, have: none, origin: { ...origin, repository: '../x' }, priority: 0 },
      },
      'join.origin',
    ],
    [
      'a join with pieces past the end',
      { $case: 'join', value: { digest: DIGEST, size: SIZE, have: Buffer.from([16]), origin, priority: 0 } },
      'join.have',
    ],
    [
      'a join with a long have',
      { $case: 'join', value: { digest: DIGEST, size: SIZE, have: Buffer.alloc(2), origin, priority: 0 } },
      'join.have',
    ],
    [
      'a part with a long have',
      { $case: 'holdingPart', value: { digest: DIGEST, size: SIZE, have: Buffer.alloc(2) } },
      'holding_part.have',
    ],
    ['a part of size 0', { $case: 'holdingPart', value: { digest: DIGEST, size: 0, have: none } }, 'holding_part.size'],
    ['a part of no blob', { $case: 'holdingPart', value: { digest: 'x', size: 1, have: none } }, 'holding_part.digest'],
    [
      'a join of size 0',
      { $case: 'join', value: { digest: DIGEST, size: 0, have: none, origin, priority: 0 } },
      'join.size',
    ],
    [
      'an unknown priority',
      { $case: 'join', value: { digest: DIGEST, size: 1, have: none, origin, priority: 7 as 0 } },
      'join.priority',
    ],
    [
      'an unknown swarm',
      { $case: 'pieceDone', value: { swarm: 77, piece: 0, parent: 0, sha256: none, durationUs: 0 } },
      'swarm 77',
    ],
    ['swarm 0', { $case: 'leaseFailed', value: { swarm: 0, reason: 1 } }, 'swarm 0'],
    ['progress of an unknown swarm', { $case: 'leaseProgress', value: { swarm: 77 } }, 'swarm 77'],
    [
      'a piece past the end',
      { $case: 'pieceDone', value: { swarm: 1, piece: 4, parent: 0, sha256: none, durationUs: 0 } },
      'no piece 4',
    ],
    [
      'a short sha256',
      { $case: 'pieceDone', value: { swarm: 1, piece: 0, parent: 0, sha256: Buffer.alloc(31), durationUs: 0 } },
      'piece_done.sha256',
    ],
    [
      'an unknown parent',
      { $case: 'pieceDone', value: { swarm: 1, piece: 0, parent: 9, sha256: none, durationUs: 0 } },
      'parent 9',
    ],
    [
      'a failure without reason',
      { $case: 'pieceFailed', value: { swarm: 1, piece: 0, parent: 1, reason: 0 } },
      'piece_failed.reason',
    ],
    [
      'a failed piece past the end',
      { $case: 'pieceFailed', value: { swarm: 1, piece: 4, parent: 1, reason: PieceFailed_Reason.BUSY } },
      'no piece 4',
    ],
    ['a lease failure without reason', { $case: 'leaseFailed', value: { swarm: 1, reason: 0 } }, 'lease_failed.reason'],
    [
      'a short map',
      { $case: 'pieceMap', value: { digest: DIGEST, size: SIZE, sha256s: Buffer.alloc(127) } },
      'not 128',
    ],
    ['a map of nothing', { $case: 'pieceMap', value: { digest: '', size: SIZE, sha256s: MAP } }, 'piece_map.digest'],
  ]
  it.each(BAD)('after hello: %s', async (_name, event, message) => {
    const node = connect(0).hello().join(DIGEST, SIZE)
    expect((await node.next('swarm')).swarm).toBe(1)
    const end = await node.say(event).ended
    expect(end.code).toBe(status.INVALID_ARGUMENT)
    expect(end.message).toContain(message)
    expect((await getJson('/api/v1/nodes')).nodes).toEqual([])
  })

  it('events before hello, empty events, or too many at once', async () => {
    expect(await connect(0).join(DIGEST, SIZE).ended).toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: 'the first event must be hello',
    })
    const many = Array.from({ length: 10_001 }, () => ({ $case: 'leave' as const, value: { digest: DIGEST } }))
    const node = connect(1).hello()
    await node.next('welcome')
    expect((await node.say(...many).ended).message).toContain('at most 10000 events')
    const odd = connect(2).hello()
    await odd.next('welcome')
    odd.say(undefined as never)
    expect((await odd.ended).message).toContain('an event is empty')
  })

  it('another node’s swarm', async () => {
    const first = connect(0).hello().join(DIGEST, SIZE)
    const { swarm } = await first.next('swarm')
    const second = connect(1).hello()
    await second.next('welcome')
    expect((await second.fromOrigin(swarm, 0, sha256(0)).ended).message).toContain(`swarm ${swarm} was not named`)
  })

  it('bytes that are no message: others are not disturbed', async () => {
    const good = connect(0).hello()
    await good.next('welcome')
    const Raw = makeGenericClientConstructor(
      { connect: { ...SchedulerServiceService.connect, requestSerialize: (bytes: Buffer) => bytes } },
      'raw',
    )
    const raw = new Raw(scheduler.addresses().grpc as string, credentials.createInsecure())
    const stream = (raw.connect as () => ReturnType<typeof Object>)()
    const code = await new Promise<number>((resolve) => {
      stream.on('error', (error: { code: number }) => resolve(error.code))
      stream.write(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff]))
    })
    raw.close()
    expect(code).not.toBe(status.OK)
    good.join(DIGEST, SIZE)
    await good.next('lease')
  })
})
