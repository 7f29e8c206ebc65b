import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import { createLogger } from '@shoal/core'
import {
  type ConnectRequest,
  type ConnectResponse,
  type NodeCommand,
  NodeRole,
  PieceFailed_Reason,
  SchedulerServiceService,
} from '@shoal/proto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { CoordinatorListener } from '../../../src/coordinator/events.ts'
import { GrpcCoordinator } from '../../../src/coordinator/grpc-coordinator.ts'

type Stream = ServerDuplexStream<ConnectRequest, ConnectResponse>
type Command = NonNullable<NodeCommand['command']>

const DIGEST = `sha256:${'a'.repeat(64)}`
const HELLO = {
  peerId: 'id',
  name: 'n',
  role: NodeRole.PEER,
  laneHost: '',
  lanePort: 1,
  multiaddrs: [],
  uploadSlots: 1,
  downloadSlots: 1,
  labels: {},
  version: '0',
  readsBatches: true,
}

/** A scripted scheduler behind the real contract and a real socket. */
class Scheduler {
  readonly heard: string[] = []
  streams: Stream[] = []
  readsBatches = false
  #server = new Server()
  port = 0

  async start(port = 0): Promise<void> {
    this.#server = new Server()
    this.#server.addService(SchedulerServiceService, {
      connect: (stream: Stream) => {
        this.streams.push(stream)
        stream.on('error', () => {})
        stream.on('data', ({ events }: ConnectRequest) => {
          for (const { event } of events) {
            if (event?.$case === 'hello')
              this.send({
                $case: 'welcome',
                value: { schedulerId: 's', bootstrap: ['/x'], readsBatches: this.readsBatches, uptimeMs: 0 },
              })
            const { swarm, piece } = (event?.value ?? {}) as { swarm?: number; piece?: number }
            this.heard.push([event?.$case, swarm, piece].filter((word) => word !== undefined).join(' '))
          }
        })
      },
    })
    this.port = await new Promise((resolve, reject) => {
      this.#server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      )
    })
  }

  send(...commands: Command[]): void {
    this.streams.at(-1)?.write({ commands: commands.map((command) => ({ command })) })
  }

  stop(): void {
    this.#server.forceShutdown()
  }
}

let scheduler: Scheduler
let coordinator: GrpcCoordinator
let told: string[]

const listener: CoordinatorListener = {
  connected: () => told.push('connected'),
  disconnected: () => told.push('disconnected'),
  assigned: ({ piece, parent }) =>
    told.push(`assigned ${piece} ${parent.peerId} ${parent.host}:${parent.port} ${parent.role}`),
  leased: ({ digest, size, firstPiece, pieceCount, origin }) =>
    told.push(`leased ${digest === DIGEST} ${size} ${firstPiece}+${pieceCount} ${origin.repository}`),
  swarmFailed: (_digest, reason) => told.push(`swarmFailed ${reason}`),
  pieceMapWanted: (digest) => told.push(`map ${digest === DIGEST}`),
  bootstrap: (multiaddrs) => told.push(`bootstrap ${multiaddrs}`),
}

beforeEach(async () => {
  told = []
  scheduler = new Scheduler()
  await scheduler.start()
  coordinator = new GrpcCoordinator(
    { scheduler: `127.0.0.1:${scheduler.port}` },
    { hello: () => HELLO, listener: () => listener, log: createLogger('test', 'silent'), random: () => 0 },
  )
  await coordinator.start()
  await vi.waitFor(() => expect(told).toEqual(['connected', 'bootstrap /x']))
})
afterEach(async () => {
  await coordinator.stop()
  scheduler.stop()
})

const swarm: Command = { $case: 'swarm', value: { digest: DIGEST, swarm: 7, size: 100 } }
const parent: Command = {
  $case: 'parent',
  value: { parent: 3, peerId: 'p', laneHost: 'h', lanePort: 9, role: NodeRole.SEED },
}

describe('the coordinator', () => {
  it('names itself first, and numbers what it tells by the scheduler’s names', async () => {
    const node = { number: 3, peerId: 'p', host: 'h', port: 9, role: 'seed' as const }
    coordinator.join(DIGEST, 100, { registry: 'r', repository: 'a' }, new Uint8Array(1), 'interactive')
    coordinator.pieceFetched(DIGEST, 5, new Uint8Array(32), 0)
    await vi.waitFor(() => expect(scheduler.heard).toEqual(['hello', 'join']))
    scheduler.send(swarm)
    await vi.waitFor(() => expect(scheduler.heard.at(-1)).toBe('pieceDone 7 5'))
    coordinator.pieceDone(DIGEST, 6, node, 1)
    coordinator.pieceFailed(DIGEST, 8, node, PieceFailed_Reason.BUSY)
    coordinator.leave(DIGEST)
    await vi.waitFor(() => expect(scheduler.heard.slice(3)).toEqual(['pieceDone 7 6', 'pieceFailed 7 8', 'leave']))
  })

  it('hands on what the scheduler says, in its order', async () => {
    const origin = { registry: 'r', repository: 'a' }
    scheduler.send(
      swarm,
      parent,
      { $case: 'assignment', value: { swarm: 7, piece: 1, parent: 3, sha256: Buffer.alloc(32) } },
      { $case: 'lease', value: { swarm: 7, firstPiece: 2, pieceCount: 3, origin } },
      { $case: 'pieceMapWanted', value: { digest: DIGEST } },
      { $case: 'swarmFailed', value: { swarm: 7, reason: 2 } },
    )
    await vi.waitFor(() =>
      expect(told.slice(2)).toEqual(['assigned 1 p h:9 seed', 'leased true 100 2+3 a', 'map true', 'swarmFailed 2']),
    )
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
    expect(told.some((word) => word.startsWith('assigned'))).toBe(false)
  })

  it.each([
    ['an unknown parent', { swarm: 7, piece: 1, parent: 4, sha256: Buffer.alloc(32) }],
    ['an unknown swarm', { swarm: 8, piece: 1, parent: 3, sha256: Buffer.alloc(32) }],
    ['a short sha256', { swarm: 7, piece: 1, parent: 3, sha256: Buffer.alloc(31) }],
  ])('dials again when the scheduler names %s', async (_what, value) => {
    scheduler.send(swarm, parent, { $case: 'assignment', value })
    await vi.waitFor(() => expect(told.filter((word) => word === 'connected')).toHaveLength(2), { timeout: 5000 })
    expect(told.some((word) => word.startsWith('assigned'))).toBe(false)
  })

  it('finds a scheduler that was away', async () => {
    scheduler.stop()
    await vi.waitFor(() => expect(told.at(-1)).toBe('disconnected'))
    expect(coordinator.isConnected).toBe(false)
    coordinator.holding(DIGEST, 100)
    await scheduler.start(scheduler.port)
    await vi.waitFor(() => expect(coordinator.isConnected).toBe(true), { timeout: 10_000 })
    expect(scheduler.heard).toEqual(['hello', 'hello'])
  })

  it('stops while the scheduler is away', async () => {
    scheduler.stop()
    await vi.waitFor(() => expect(told.at(-1)).toBe('disconnected'))
    await coordinator.stop()
    expect(coordinator.isConnected).toBe(false)
  })
})
