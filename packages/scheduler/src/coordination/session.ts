import { type ServerDuplexStream, status } from '@grpc/grpc-js'
import type { ConnectRequest, ConnectResponse, NodeCommand } from '@shoal/proto'
import { SchedulerError } from '../errors.ts'
import type { NodeIntroduction } from './checks.ts'

export type Call = ServerDuplexStream<ConnectRequest, ConnectResponse>

/** Commands in one response. */
const MOST_COMMANDS = 10_000
/** Commands that wait for a node; one that lets more pile up is dropped. */
const MOST_WAITING = 100_000
/** A node that reads nothing for so long while commands wait is dropped. */
const UNREAD_MS = 10_000

/** What a session tells its owner. */
export interface SessionEvents {
  /** The node reads again: what waits can be sent. */
  readonly drained: () => void
  /** The node does not read: it is to be dropped. */
  readonly unread: (error: SchedulerError) => void
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
  /** Swarms and parents that the node knows by number. */
  readonly swarms = new Set<number>()
  readonly parents = new Set<number>()
  readonly #call: Call
  readonly #events: SessionEvents
  #waiting: NodeCommand[] = []
  #isBlocked = false
  #unread: NodeJS.Timeout | undefined
  #isEnded = false

  constructor(call: Call, number: number, index: number, introduction: NodeIntroduction, events: SessionEvents) {
    this.#call = call
    this.number = number
    this.index = index
    this.introduction = introduction
    this.address = call.getPeer()
    this.#events = events
    call.on('drain', () => this.#drained())
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0 && !this.#isBlocked
  }

  /** Adds a command to the node's next response. */
  tell(command: NodeCommand['command']): void {
    this.#waiting.push({ command })
  }

  /** Sends one response with what waits, if the node reads; returns whether it did. */
  flush(): boolean {
    if (this.#isEnded || this.#waiting.length === 0) return false
    if (this.#isBlocked) {
      if (this.#waiting.length > MOST_WAITING) this.#drop(`more than ${MOST_WAITING} commands wait for the node`)
      return false
    }
    const commands = this.#waiting.length <= MOST_COMMANDS ? this.#waiting : this.#waiting.slice(0, MOST_COMMANDS)
    this.#waiting = this.#waiting.slice(commands.length)
    if (!this.#call.write({ commands })) {
      this.#isBlocked = true
      this.#unread = setTimeout(() => this.#drop(`the node read nothing for ${UNREAD_MS} ms`), UNREAD_MS)
    }
    return true
  }

  /** Ends the stream: with the error's status, or as done. */
  end(error?: SchedulerError): void {
    if (this.#isEnded) return
    this.#isEnded = true
    clearTimeout(this.#unread)
    this.#waiting = []
    closeCall(this.#call, error)
  }

  #drained(): void {
    this.#isBlocked = false
    clearTimeout(this.#unread)
    this.#events.drained()
  }

  #drop(why: string): void {
    this.#events.unread(new SchedulerError('SLOW_READER', why))
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
