import type { ClientDuplexStream } from '@grpc/grpc-js'
import type { Logger } from '@shoal/core'
import {
  type ConnectRequest,
  type ConnectResponse,
  type Hello,
  type NodeCommand,
  NodeRole,
  type Welcome,
} from '@shoal/proto'
import { type Event, EventQueue } from './event-queue.ts'
import type { CoordinatorListener, ParentNode } from './events.ts'

/** A node sends one message in this time at the most; the first after a while without any goes at once. */
const TICK_MS = 5
const MAX_QUEUED_EVENTS = 200_000
const SHA256_BYTES = 32

type Command = NonNullable<NodeCommand['command']>
type Call = ClientDuplexStream<ConnectRequest, ConnectResponse>

/** How a stream ended. */
export interface StreamEnd {
  /** Whether the scheduler had answered. */
  readonly wasWelcome: boolean
  readonly error: unknown
}

/** One stream to a scheduler, from hello to its end: its numbers for swarms and parents, and its queue of events. */
export class SchedulerStream {
  /** Resolves when the stream is over. */
  readonly ended: Promise<StreamEnd>
  #isWelcome = false
  readonly #call: Call
  readonly #listener: CoordinatorListener
  readonly #log: Logger
  readonly #swarms = new Map<number, { digest: string; size: number }>()
  readonly #numbers = new Map<string, number>()
  readonly #parents = new Map<number, ParentNode>()
  /** Events of swarms that were joined but not named yet. */
  readonly #waiting = new Map<string, ((swarm: number) => Event)[]>()
  readonly #queue = new EventQueue()
  #readsBatches = false
  #isBlocked = false
  #isOver = false
  #flushedAt = Number.NEGATIVE_INFINITY
  #flushTimer: NodeJS.Timeout | undefined
  #flushImmediate: NodeJS.Immediate | undefined

  constructor(call: Call, hello: Hello, listener: CoordinatorListener, log: Logger) {
    this.#call = call
    this.#listener = listener
    this.#log = log
    call.write({ events: [{ event: { $case: 'hello', value: hello } }] })
    this.ended = new Promise((resolve) => {
      let error: unknown
      call.on('data', (response) => {
        for (const { command } of response.commands) if (command !== undefined) this.#apply(command)
      })
      call.on('drain', () => {
        this.#isBlocked = false
        this.#planFlush()
      })
      const end = () => {
        if (this.#isOver) return
        this.#isOver = true
        clearTimeout(this.#flushTimer)
        clearImmediate(this.#flushImmediate)
        call.cancel()
        resolve({ wasWelcome: this.#isWelcome, error })
      }
      call.on('error', (cause) => {
        error = cause
        end()
      })
      call.on('end', end)
    })
  }

  /** Whether the scheduler has answered and the stream is not over. */
  get isWelcome(): boolean {
    return this.#isWelcome && !this.#isOver
  }

  cancel(): void {
    this.#call.cancel()
  }

  /** Queues an event; before the scheduler's answer it is dropped, as `connected` says everything anew. */
  send(event: Event): void {
    if (!this.isWelcome) return
    if (event.$case === 'join') this.#waiting.set(event.value.digest, [])
    if (event.$case === 'leave') this.#waiting.delete(event.value.digest)
    this.#queue.push(event)
    if (this.#queue.length > MAX_QUEUED_EVENTS) {
      this.#log.error({ queued: this.#queue.length }, 'the scheduler does not read; dialling again')
      this.#queue.clear()
      this.cancel()
      return
    }
    this.#planFlush()
  }

  /** Queues an event that names its swarm by number; waits for the number when the swarm was joined just now. */
  sendInSwarm(digest: string, build: (swarm: number) => Event): void {
    const waiting = this.#waiting.get(digest)
    const swarm = this.#numbers.get(digest)
    if (waiting !== undefined) waiting.push(build)
    else if (swarm !== undefined) this.send(build(swarm))
  }

  #planFlush(): void {
    if (this.#isBlocked || this.#isOver || this.#queue.length === 0) return
    if (this.#flushTimer !== undefined || this.#flushImmediate !== undefined) return
    const waitMs = this.#flushedAt + TICK_MS - performance.now()
    if (waitMs <= 0) this.#flushImmediate = setImmediate(() => this.#flush())
    else this.#flushTimer = setTimeout(() => this.#flush(), Math.ceil(waitMs))
  }

  #flush(): void {
    this.#flushTimer = undefined
    this.#flushImmediate = undefined
    if (this.#isOver) return
    this.#flushedAt = performance.now()
    this.#isBlocked = !this.#call.write({ events: this.#queue.take(this.#readsBatches) })
    this.#planFlush()
  }

  #apply(command: Command): void {
    if (command.$case === 'welcome') this.#welcome(command.value)
    else if (command.$case === 'swarm') this.#nameSwarm(command.value)
    else if (command.$case === 'parent') this.#nameParent(command.value)
    else if (command.$case === 'pieceMapWanted') this.#listener.pieceMapWanted(command.value.digest)
    else if (!this.#applyInSwarm(command)) {
      this.#log.error({ command: command.$case }, 'the scheduler named something unknown; dialling again')
      this.cancel()
    }
  }

  #welcome({ bootstrap, readsBatches }: Welcome): void {
    this.#isWelcome = true
    this.#readsBatches = readsBatches
    this.#listener.connected()
    this.#listener.bootstrap(bootstrap)
  }

  #nameSwarm({ digest, swarm, size }: { digest: string; swarm: number; size: number }): void {
    this.#swarms.set(swarm, { digest, size })
    this.#numbers.set(digest, swarm)
    const waiting = this.#waiting.get(digest) ?? []
    this.#waiting.delete(digest)
    for (const build of waiting) this.send(build(swarm))
  }

  #nameParent(value: { parent: number; peerId: string; laneHost: string; lanePort: number; role: NodeRole }): void {
    const { parent: number, peerId, laneHost: host, lanePort: port } = value
    this.#parents.set(number, { number, peerId, host, port, role: value.role === NodeRole.SEED ? 'seed' : 'peer' })
  }

  /** Applies a command that names a swarm; false when what it names was never introduced. */
  #applyInSwarm(command: Exclude<Command, { $case: 'welcome' | 'swarm' | 'parent' | 'pieceMapWanted' }>): boolean {
    const swarm = this.#swarms.get(command.value.swarm)
    if (swarm === undefined) return false
    const { digest } = swarm
    if (command.$case === 'assignment') {
      const { piece, parent, sha256 } = command.value
      return this.#assign(digest, piece, parent, sha256)
    }
    if (command.$case === 'assignments') {
      const { pieces, parents, sha256s } = command.value
      if (parents.length !== pieces.length || sha256s.byteLength !== pieces.length * SHA256_BYTES) return false
      return pieces.every((piece, i) =>
        this.#assign(digest, piece, parents[i] as number, sha256s.subarray(i * SHA256_BYTES, (i + 1) * SHA256_BYTES)),
      )
    }
    if (command.$case === 'lease') {
      const { firstPiece, pieceCount, origin } = command.value
      if (origin === undefined) return false
      this.#listener.leased({ ...swarm, firstPiece, pieceCount, origin })
    } else {
      this.#listener.swarmFailed(digest, command.value.reason)
    }
    return true
  }

  #assign(digest: string, piece: number, number: number, sha256: Uint8Array): boolean {
    const parent = this.#parents.get(number)
    if (parent === undefined || sha256.byteLength !== SHA256_BYTES) return false
    this.#listener.assigned({ digest, piece, parent, sha256 })
    return true
  }
}
