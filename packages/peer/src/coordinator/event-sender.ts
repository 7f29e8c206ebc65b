import type { ConnectRequest } from '@shoal/proto'
import { type Event, EventQueue } from './event-queue.ts'

/** A node sends one message in this time at the most; the first after a while without any goes at once. */
const TICK_MS = 5
const MAX_QUEUED_EVENTS = 200_000

/** Sends a node's events on one stream: gathered into messages, and none while the scheduler does not read. */
export class EventSender {
  /** Whether the scheduler understands several pieces in one event. */
  readsBatches = false
  readonly #write: (request: ConnectRequest) => boolean
  readonly #overflowed: (queued: number) => void
  readonly #queue = new EventQueue()
  #isBlocked = false
  #isStopped = false
  #flushedAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined

  /**
   * @param write sends a message; false: the next is to wait for `drained`
   * @param overflowed the scheduler does not read, and what waited for it was dropped
   */
  constructor(write: (request: ConnectRequest) => boolean, overflowed: (queued: number) => void) {
    this.#write = write
    this.#overflowed = overflowed
  }

  /** Events that wait to be sent. */
  get queued(): number {
    return this.#queue.length
  }

  send(event: Event): void {
    this.#queue.push(event)
    if (this.#queue.length > MAX_QUEUED_EVENTS) {
      const queued = this.#queue.length
      this.#queue.clear()
      this.#overflowed(queued)
      return
    }
    this.#plan()
  }

  /** The scheduler reads again. */
  drained(): void {
    this.#isBlocked = false
    this.#plan()
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
  }

  #plan(): void {
    if (this.#isBlocked || this.#isStopped || this.#queue.length === 0) return
    if (this.#timer !== undefined || this.#immediate !== undefined) return
    const waitMs = this.#flushedAt + TICK_MS - performance.now()
    if (waitMs <= 0) this.#immediate = setImmediate(() => this.#flush())
    else this.#timer = setTimeout(() => this.#flush(), Math.ceil(waitMs))
  }

  #flush(): void {
    this.#timer = undefined
    this.#immediate = undefined
    if (this.#isStopped) return
    this.#flushedAt = performance.now()
    this.#isBlocked = !this.#write({ events: this.#queue.take(this.readsBatches) })
    this.#plan()
  }
}
