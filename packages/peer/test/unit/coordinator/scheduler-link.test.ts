import { createLogger, PIECE_RULE } from '@shoal/core'
import { NodeRole, PieceFailed_Reason } from '@shoal/proto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { PieceAssignment } from '../../../src/coordinator/events.ts'
import { type LinkListener, SchedulerLink } from '../../../src/coordinator/scheduler-link.ts'
import { type Command, HELLO, ScriptedScheduler } from './scripted-scheduler.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`
const origin = { registry: 'r', repository: 'a' }

const log = createLogger('test', 'silent')
let scheduler: ScriptedScheduler
let link: SchedulerLink
let told: string[]
let assigned: PieceAssignment[]

const listener: LinkListener = {
  connected: () => told.push('connected'),
  disconnected: () => told.push('disconnected'),
  isWaiting: () => true,
  assigned: (assignment) => {
    const { piece, parent } = assignment
    assigned.push(assignment)
    told.push(`assigned ${piece} ${parent.peerId} ${parent.host}:${parent.port} ${parent.role}`)
  },
  leased: ({ digest, size, firstPiece, pieceCount, origin }) =>
    told.push(`leased ${digest === DIGEST} ${size} ${firstPiece}+${pieceCount} ${origin.repository}`),
  leaseTaken: (digest) => told.push(`leaseTaken ${digest === DIGEST}`),
  swarmFailed: (_digest, reason) => told.push(`swarmFailed ${reason}`),
  swarmGetsOn: (digest) => told.push(`swarmGetsOn ${digest === DIGEST}`),
  pieceMapWanted: (digest) => told.push(`map ${digest === DIGEST}`),
  originShare: ({ bytesPerSecond, aloneBytesPerSecond }) => told.push(`share ${bytesPerSecond} ${aloneBytesPerSecond}`),
  bootstrap: (multiaddrs) => told.push(`bootstrap ${multiaddrs}`),
}

/** The stream, which is there. */
function stream() {
  if (link.stream === undefined) throw new Error('there is no stream')
  return link.stream
}

beforeEach(async () => {
  told = []
  assigned = []
  scheduler = new ScriptedScheduler()
  scheduler.uptimeMs = 5000
  await scheduler.start()
  link = new SchedulerLink(scheduler.address, {
    hello: () => HELLO,
    listener,
    log,
    now: () => 12_000,
    random: () => 0,
  })
  await link.start()
  await vi.waitFor(() => expect(told).toEqual(['connected', 'bootstrap /x']))
})
afterEach(async () => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  await link.stop()
  scheduler.stop()
})

const swarm: Command = { $case: 'swarm', value: { digest: DIGEST, swarm: 7, size: 100 } }
const parent: Command = {
  $case: 'parent',
  value: { parent: 3, peerId: 'p', laneHost: 'h', lanePort: 9, role: NodeRole.SEED, multiaddrs: ['/x', '/y'] },
}

describe('the link to a scheduler', () => {
  it('names the node first, and numbers what it tells by the scheduler’s names', async () => {
    stream().join(DIGEST, 100, origin, new Uint8Array(1), 'interactive')
    stream().pieceFetched(DIGEST, 5, new Uint8Array(32), 0)
    await vi.waitFor(() => expect(scheduler.heard).toEqual(['hello', 'join']))
    scheduler.assign(DIGEST, 6)
    await vi.waitFor(() => expect(scheduler.heard.at(-1)).toBe('pieceDone 7 5'))
    await vi.waitFor(() => expect(assigned).toHaveLength(1))
    const from = assigned[0]?.parent as PieceAssignment['parent']
    stream().pieceEnding(DIGEST, 6, from)
    stream().pieceDone(DIGEST, 6, from, 1)
    stream().pieceFailed(DIGEST, 8, from, PieceFailed_Reason.BUSY)
    stream().leave(DIGEST)
    await vi.waitFor(() =>
      expect(scheduler.heard.slice(3)).toEqual(['pieceEnding 7 6', 'pieceDone 7 6', 'pieceFailed 7 8', 'leave']),
    )
    expect(scheduler.events[3]).toMatchObject({ value: { parent: 3 } })
    expect(scheduler.events[4]).toMatchObject({ value: { parent: 3, durationUs: 1 } })
  })

  it('knows when the scheduler was started', () => {
    expect(link.startedAtMs).toBe(7000)
  })

  it('reports a piece of a parent that another stream introduced without its number, and not its failure', async () => {
    const stranger = { number: 3, peerId: 'q', host: 'h', port: 1, role: 'peer' as const, multiaddrs: [] }
    scheduler.assign(DIGEST, 1)
    await vi.waitFor(() => expect(assigned).toHaveLength(1))
    stream().pieceFailed(DIGEST, 4, stranger, PieceFailed_Reason.BUSY)
    stream().pieceEnding(DIGEST, 5, stranger)
    stream().pieceDone(DIGEST, 5, stranger, 9)
    await vi.waitFor(() => expect(scheduler.heard).toEqual(['hello', 'pieceDone 7 5']))
    expect(scheduler.events[1]).toEqual({
      $case: 'pieceDone',
      value: { swarm: 7, piece: 5, parent: 0, sha256: Buffer.alloc(0), durationUs: 0 },
    })
  })

  it('says nothing of blobs and piece maps that the scheduler does not know of or did not ask for', async () => {
    const stranger = { number: 3, peerId: 'q', host: 'h', port: 1, role: 'peer' as const, multiaddrs: [] }
    expect(stream().knows(DIGEST)).toBe(false)
    stream().leave(DIGEST)
    stream().pieceDone(DIGEST, 5, stranger, 9)
    stream().pieceMap(DIGEST, 100, new Uint8Array(32))
    scheduler.send({ $case: 'pieceMapWanted', value: { digest: DIGEST } })
    await vi.waitFor(() => expect(told.at(-1)).toBe('map true'))
    stream().pieceMap(DIGEST, 100, new Uint8Array(32))
    stream().pieceMap(DIGEST, 100, new Uint8Array(32))
    stream().holdingPart(DIGEST, 100, new Uint8Array(1))
    await vi.waitFor(() => expect(scheduler.heard).toEqual(['hello', 'pieceMap', 'holdingPart']))
    expect(stream().knows(DIGEST)).toBe(true)
    expect(stream().wants(DIGEST)).toBe(false)
  })

  it('hands on what the scheduler says, in its order', async () => {
    scheduler.send(
      swarm,
      parent,
      { $case: 'assignment', value: { swarm: 7, piece: 1, parent: 3, sha256: Buffer.alloc(32) } },
      { $case: 'lease', value: { swarm: 7, firstPiece: 2, pieceCount: 3, origin } },
      { $case: 'pieceMapWanted', value: { digest: DIGEST } },
      { $case: 'leaseTaken', value: { swarm: 7 } },
      { $case: 'swarmProgress', value: { swarm: 7 } },
      { $case: 'originBudget', value: { bytesPerSecond: 80, aloneBytesPerSecond: 10 } },
      { $case: 'swarmFailed', value: { swarm: 7, reason: 2 } },
      { $case: 'swarmFailed', value: { swarm: 7, reason: 99 as 2 } },
    )
    await vi.waitFor(() =>
      expect(told.slice(2)).toEqual([
        'assigned 1 p h:9 seed',
        'leased true 100 2+3 a',
        'map true',
        'leaseTaken true',
        'swarmGetsOn true',
        'share 80 10',
        'swarmFailed not_found',
        'swarmFailed unknown',
      ]),
    )
  })

  it('turns to the swarm of another size by a lease, or by what it says; what comes of the one before is nothing', async () => {
    const other: Command = { $case: 'swarm', value: { digest: DIGEST, swarm: 8, size: 101 } }
    scheduler.send(swarm, other, { $case: 'swarmFailed', value: { swarm: 7, reason: 4 } })
    scheduler.send({ $case: 'lease', value: { swarm: 7, firstPiece: 0, pieceCount: 1, origin } })
    await vi.waitFor(() => expect(told.at(-1)).toBe('leased true 100 0+1 a'))
    stream().pieceFetched(DIGEST, 0, new Uint8Array(32), 0)
    scheduler.send({ $case: 'leaseTaken', value: { swarm: 8 } }, { $case: 'swarmProgress', value: { swarm: 7 } })
    await vi.waitFor(() => expect(scheduler.heard.at(-1)).toBe('pieceDone 7 0'))
    await vi.waitFor(() => expect(told.slice(2)).toEqual(['leased true 100 0+1 a', 'swarmGetsOn true']))
  })

  it('logs what the scheduler refused', async () => {
    const warn = vi.spyOn(log, 'warn')
    scheduler.send({ $case: 'refused', value: { reason: 'x'.repeat(1000) } })
    await vi.waitFor(() =>
      expect(warn).toHaveBeenCalledWith({ reason: 'x'.repeat(300) }, 'the scheduler refused something'),
    )
  })

  it('knows the libp2p addresses of parents', async () => {
    scheduler.send(parent)
    await vi.waitFor(() => expect(stream().multiaddrsOf('p')).toEqual(['/x', '/y']))
    expect(stream().multiaddrsOf('q')).toEqual([])
  })

  it('takes several assignments in one command', async () => {
    const sha256s = Buffer.alloc(64)
    scheduler.send(swarm, parent, {
      $case: 'assignments',
      value: { swarm: 7, pieces: [1, 2], parents: [3, 3], sha256s },
    })
    await vi.waitFor(() => expect(told.slice(2)).toEqual(['assigned 1 p h:9 seed', 'assigned 2 p h:9 seed']))
  })

  it.each([
    ['a parent is missing', { swarm: 7, pieces: [1, 2], parents: [3], sha256s: Buffer.alloc(64) }],
    ['a sha256 is missing', { swarm: 7, pieces: [1, 2], parents: [3, 3], sha256s: Buffer.alloc(32) }],
    ['a parent is unknown', { swarm: 7, pieces: [1], parents: [4], sha256s: Buffer.alloc(32) }],
  ])('dials again when in a command for several pieces %s', async (_what, value) => {
    scheduler.send(swarm, parent, { $case: 'assignments', value })
    await vi.waitFor(() => expect(told.filter((word) => word === 'connected')).toHaveLength(2), { timeout: 5000 })
    expect(assigned).toEqual([])
  })

  it.each([
    ['an unknown parent', { swarm: 7, piece: 1, parent: 4, sha256: Buffer.alloc(32) }],
    ['an unknown swarm', { swarm: 8, piece: 1, parent: 3, sha256: Buffer.alloc(32) }],
    ['a short sha256', { swarm: 7, piece: 1, parent: 3, sha256: Buffer.alloc(31) }],
  ])('dials again when the scheduler names %s', async (_what, value) => {
    scheduler.send(swarm, parent, { $case: 'assignment', value })
    await vi.waitFor(() => expect(told.filter((word) => word === 'connected')).toHaveLength(2), { timeout: 5000 })
    expect(assigned).toEqual([])
  })

  it('finds a scheduler that was away', async () => {
    const before = stream()
    scheduler.stop()
    await vi.waitFor(() => expect(told.at(-1)).toBe('disconnected'))
    expect(link.stream).toBeUndefined()
    before.holding(DIGEST, 100)
    await scheduler.start()
    await vi.waitFor(() => expect(link.stream).toBeDefined(), { timeout: 10_000 })
    expect(scheduler.heard).toEqual(['hello', 'hello'])
  })

  it('dials again when a scheduler takes the call and says nothing', async () => {
    scheduler.isPolite = false
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    scheduler.streams.at(-1)?.end()
    await vi.waitFor(() => expect(told.at(-1)).toBe('disconnected'))
    await vi.waitFor(async () => {
      await vi.advanceTimersByTimeAsync(10)
      expect(scheduler.streams).toHaveLength(2)
    })
    await vi.advanceTimersByTimeAsync(4900)
    scheduler.isPolite = true
    expect(scheduler.streams).toHaveLength(2)
    await vi.waitFor(async () => {
      await vi.advanceTimersByTimeAsync(10)
      expect(link.stream).toBeDefined()
    })
    expect(scheduler.streams).toHaveLength(3)
  })

  it('leaves a scheduler that cuts blobs into other pieces, and says why', async () => {
    const warn = vi.spyOn(log, 'warn')
    scheduler.pieceRule = PIECE_RULE - 1
    scheduler.streams.at(-1)?.end()
    await vi.waitFor(() => expect(scheduler.heard).toEqual(['hello', 'hello', 'hello']), { timeout: 5000 })
    expect(told.slice(2)).toEqual(['disconnected'])
    expect(link.stream).toBeUndefined()
    expect(warn.mock.calls.map(([fields]) => (fields as unknown as { reason: string }).reason)).toContain(
      'it cuts blobs into different pieces, by rule 1, not 2: run the same release of Shoal on both',
    )
    scheduler.pieceRule = PIECE_RULE
    await vi.waitFor(() => expect(link.stream).toBeDefined(), { timeout: 5000 })
  })

  it('stops while the scheduler is away', async () => {
    scheduler.stop()
    await vi.waitFor(() => expect(told.at(-1)).toBe('disconnected'))
    await link.stop()
    expect(link.stream).toBeUndefined()
  })
})

it.each(['grpc_proxy', 'https_proxy', 'http_proxy'])('is not dialled through the proxy of %s', async (name) => {
  vi.stubEnv(name, 'http://127.0.0.1:1')
  vi.stubEnv('no_proxy', '')
  const direct = new SchedulerLink(scheduler.address, {
    hello: () => HELLO,
    listener,
    log,
    now: () => 12_000,
    random: () => 0,
  })
  try {
    told = []
    await direct.start()
    await vi.waitFor(() => expect(told).toContain('connected'), { timeout: 5000 })
  } finally {
    vi.unstubAllEnvs()
    await direct.stop()
  }
})
