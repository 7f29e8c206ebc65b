import { type ServerDuplexStream, status } from '@grpc/grpc-js'
import { type ConnectRequest, type NodeCommand, NodeRole } from '@shoal/proto'
import { SchedulerError } from '../errors.ts'
import { dialledAt } from './bootstrap.ts'
import type { NodeIntroduction } from './checks.ts'
import { IndexBits } from './index-bits.ts'
import { encoded, Outbox } from './outbox.ts'

/** A node's stream; what is written are responses as bytes. */
export type Call = ServerDuplexStream<ConnectRequest, Uint8Array>

/** libp2p addresses of a parent that others are told. */
const MOST_MULTIADDRS = 4
/** Bytes that may wait for a node that does not read; grpc-js holds up to 16 responses beside them. */
const MOST_WAITING_BYTES = 4 * 1024 * 1024
/** A node that reads not a single response for so long while commands wait is dropped. */
const UNREAD_MS = 10_000

/** What a session is bounded by, and what it tells its owner. */
export interface SessionEvents {
  /** Bytes that may wait for the node, in place of 4 MiB. */
  readonly mostWaitingBytes?: number
  /** Something waits for the node since now, or the node reads again: `flush` is to be called. */
  readonly waits: (session: Session) => void
  /** The node does not read: it is to be dropped. */
  readonly unread: (session: Session, error: SchedulerError) => void
}

/** One node's stream, from hello to its end: what was said to the node, and what waits to be said. */
export class Session {
  /** Names the node as a parent on all streams; never used for another session again. */
  readonly number: number
  readonly introduction: NodeIntroduction
  /** Index of the node in the core. */
  readonly index: number
  readonly address: string
  readonly connectedAt = new Date()
  /** Swarms that the node knows by number. */
  readonly swarms = new Set<number>()
  /** Live nodes, by index in the core, whose number was introduced to the node. */
  readonly parents = new IndexBits()
  readonly #call: Call
  readonly #events: SessionEvents
  readonly #outbox: Outbox
  #asParent: Buffer | undefined
  #asLocalParent: Buffer | undefined
  #isListed = false
  #isBlocked = false
  /** Responses that went out to the network. */
  #written = 0
  readonly #wrote = () => {
    this.#written++
  }
  #unread: NodeJS.Timeout | undefined
  #isEnded = false

  constructor(call: Call, number: number, index: number, introduction: NodeIntroduction, events: SessionEvents) {
    this.#call = call
    this.number = number
    this.index = index
    this.introduction = introduction
    this.address = call.getPeer()
    this.#events = events
    this.#outbox = new Outbox(introduction.readsBatches)
    call.on('drain', () => this.#drained())
  }

  /** Whether the node does not keep up with reading. */
  get isBlocked(): boolean {
    return this.#isBlocked
  }

  /** Adds a command to the node's next response. */
  tell(command: NonNullable<NodeCommand['command']>): void {
    this.#outbox.add(command)
    this.#list()
  }

  /** Has the node fetch a piece from `parent`. @param digests see `Outbox.assign` */
  assign(swarm: number, piece: number, parent: Session, digests: Uint8Array): void {
    if (!this.parents.has(parent.index)) {
      this.parents.add(parent.index)
      this.#outbox.introduce(parent.asParentOf(this))
    }
    this.#outbox.assign(swarm, piece, parent.number, digests)
    this.#list()
  }

  /** The command that introduces this node to another. */
  asParentOf({ introduction }: Session): Buffer {
    if (!introduction.isLocal) {
      this.#asParent ??= this.#asParentOn(false)
      return this.#asParent
    }
    this.#asLocalParent ??= this.#asParentOn(true)
    return this.#asLocalParent
  }

  #asParentOn(isLocal: boolean): Buffer {
    const { id: peerId, laneHost, localLaneHost, lanePort, role } = this.introduction
    const value = {
      parent: this.number,
      peerId,
      laneHost: isLocal ? localLaneHost : laneHost,
      lanePort,
      role: role === 'seed' ? NodeRole.SEED : NodeRole.PEER,
      multiaddrs: dialledAt(this.introduction, isLocal).slice(0, MOST_MULTIADDRS),
    }
    return encoded({ $case: 'parent', value })
  }

  /** Sends one response with what waits, if the node reads; returns whether it did. */
  flush(): boolean {
    this.#isListed = false
    if (this.#isEnded) return false
    this.#outbox.seal()
    if (this.#isBlocked) {
      const most = this.#events.mostWaitingBytes ?? MOST_WAITING_BYTES
      if (this.#outbox.bytes > most) this.#drop(`more than ${most} bytes wait for the node`)
      return false
    }
    const response = this.#outbox.take()
    if (response === undefined) return false
    if (!this.#call.write(response, this.#wrote)) {
      this.#isBlocked = true
      this.#watch()
    } else if (!this.#outbox.isEmpty) this.#list()
    return true
  }

  /** Ends the stream: with the error's status, or as done. */
  end(error?: SchedulerError): void {
    if (this.#isEnded) return
    this.#isEnded = true
    clearTimeout(this.#unread)
    closeCall(this.#call, error)
  }

  #list(): void {
    if (this.#isListed) return
    this.#isListed = true
    this.#events.waits(this)
  }

  #drained(): void {
    this.#isBlocked = false
    clearTimeout(this.#unread)
    if (!this.#outbox.isEmpty) this.#list()
  }

  /** Drops a node that stands still. It is not judged by what we could not see yet: reads come before the verdict. */
  #watch(): void {
    const written = this.#written
    this.#unread = setTimeout(() => {
      setImmediate(() => {
        if (!this.#isBlocked || this.#isEnded) return
        if (this.#written > written) this.#watch()
        else this.#drop(`the node read nothing for ${UNREAD_MS} ms`)
      })
    }, UNREAD_MS)
  }

  #drop(why: string): void {
    this.#events.unread(this, new SchedulerError('SLOW_READER', why))
  }
}

const STATUS = {
  PROTOCOL_VIOLATION: status.INVALID_ARGUMENT,
  LIMIT_EXCEEDED: status.RESOURCE_EXHAUSTED,
  HELLO_TIMEOUT: status.DEADLINE_EXCEEDED,
  SLOW_READER: status.RESOURCE_EXHAUSTED,
  REPLACED: status.ABORTED,
  INTERNAL: status.INTERNAL,
} as const

/** Ends a call: with the error's gRPC status and message, or as done. */
export function closeCall(call: Call, error?: SchedulerError): void {
  if (error === undefined) call.end()
  else call.emit('error', { code: STATUS[error.code], details: error.message })
}
