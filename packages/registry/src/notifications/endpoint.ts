import { STATUS_CODES } from 'node:http'
import { BackgroundLoop, errorChain, type Logger, pause, type Startable } from '@shoal/core'
import { Turns } from '../storage/turns.ts'
import { retryDelayMs } from './backoff.ts'
import { type DistributionEvent, envelopeOf } from './envelope.ts'
import type { NotificationMetrics } from './metrics.ts'
import type { EndpointOptions } from './options.ts'
import type { Change, QueueDb, QueuedEvent } from './queue-db.ts'
import { type Attempt, Target } from './target.ts'

interface EndpointDependencies {
  readonly db: QueueDb
  readonly metrics: NotificationMetrics
  readonly log: Logger
}

const HOUR_MS = 3_600_000
/** Pause after the queue itself failed. */
const DISK_PAUSE_MS = 1000

/** One receiver of events and its queue. Events go out one at a time, the oldest first. */
export class Endpoint implements Startable {
  readonly name: string
  readonly #options: EndpointOptions
  readonly #dependencies: EndpointDependencies
  readonly #target: Target
  readonly #ignored: ReadonlySet<string>
  readonly #loop = new BackgroundLoop((signal) => this.#deliver(signal))
  readonly #turns = new Turns()
  #wake: () => void = () => {}
  #hasNews = false
  #isFull = false
  #pending = 0
  #dead = 0
  #failuresInARow = 0
  #lastFailure: string | undefined

  /** Throws CoreError `CONFIG_INVALID`. */
  constructor(name: string, options: EndpointOptions, dependencies: EndpointDependencies) {
    this.name = name
    this.#options = options
    this.#dependencies = dependencies
    this.#target = new Target(name, options)
    this.#ignored = new Set<string>([...options.ignore.actions, ...options.ignore.mediaTypes])
  }

  /** How the endpoint does, for operators. */
  get view() {
    return {
      name: this.name,
      pending: this.#pending,
      dead: this.#dead,
      failuresInARow: this.#failuresInARow,
      ...(this.#lastFailure === undefined ? {} : { lastFailure: this.#lastFailure }),
    }
  }

  /** Needs the database open. */
  async start(): Promise<void> {
    if (this.#loop.isRunning) return
    const { db } = this.#dependencies
    this.#pending = await db.count('pending', this.name)
    this.#dead = await db.count('dead', this.name)
    this.#measure()
    await this.#loop.start()
  }

  /** Breaks off an attempt under way: its event stays. */
  async stop(): Promise<void> {
    const stopped = this.#loop.stop()
    this.#wake()
    await stopped
  }

  wants(action: string, mediaType: string | undefined): boolean {
    return !this.#ignored.has(action) && (mediaType === undefined || !this.#ignored.has(mediaType))
  }

  /** The change that queues an event; undefined when the queue is full. `settle` says what came of it. */
  admit(event: DistributionEvent, queuedAtMs: number): Change | undefined {
    const isFull = this.#pending >= this.#options.maxPending
    if (isFull !== this.#isFull && isFull) {
      this.#dependencies.log.error({ endpoint: this.name }, 'a notification queue is full: new events are dropped')
    }
    this.#isFull = isFull
    if (isFull) {
      this.#dependencies.metrics.dropped.inc({ endpoint: this.name })
      return undefined
    }
    this.#pending++
    this.#dependencies.metrics.events.inc({ type: 'Events', endpoint: this.name })
    return this.#dependencies.db.putLast('pending', this.name, { event, queuedAtMs })
  }

  /** After `admit`: whether the change was made. */
  settle(isQueued: boolean): void {
    if (!isQueued) {
      this.#pending--
      this.#dependencies.metrics.dropped.inc({ endpoint: this.name })
    }
    this.#measure()
    this.#hasNews = true
    this.#wake()
  }

  /** Queues a dead event again; false when there is none of that id. */
  retry(id: string): Promise<boolean> {
    const { db } = this.#dependencies
    const again = ({ event }: QueuedEvent) => [db.putLast('pending', this.name, { event, queuedAtMs: Date.now() })]
    return this.#takeDead(id, again)
  }

  /** Forgets a dead event; false when there is none of that id. */
  drop(id: string): Promise<boolean> {
    return this.#takeDead(id, () => [])
  }

  async #takeDead(id: string, also: (dead: QueuedEvent) => Change[]): Promise<boolean> {
    const { db } = this.#dependencies
    return this.#turns.take(id, async () => {
      const found = await db.get('dead', this.name, id)
      if (found === undefined) return false
      const changes = also(found)
      await db.write([...changes, db.remove('dead', this.name, id)], true)
      this.#pending += changes.length
      this.#dead--
      this.settle(true)
      return true
    })
  }

  async #deliver(signal: AbortSignal): Promise<void> {
    const { db, metrics, log } = this.#dependencies
    let after = ''
    let attempts = 0
    while (!signal.aborted) {
      try {
        this.#hasNews = false
        const [head] = await db.list('pending', this.name, after, 1)
        if (head === undefined) {
          await this.#news(signal)
          continue
        }
        const [id, queued] = head
        if (queued === undefined) metrics.dropped.inc({ endpoint: this.name })
        const pauseMs = queued === undefined ? 0 : await this.#attempt(queued, signal)
        if (signal.aborted) return
        attempts = pauseMs === 0 ? 0 : attempts + 1
        if (pauseMs === 0 || queued === undefined) {
          after = id
          await this.#finish([db.remove('pending', this.name, id)])
        } else if (this.#isDead(queued, attempts)) {
          after = id
          attempts = 0
          await this.#bury(id, queued)
        }
        if (pauseMs > 0) await pause(pauseMs, signal)
      } catch (error) {
        log.error(
          { endpoint: this.name, error: errorChain(error) },
          'a notification queue can not be used; will try again',
        )
        await pause(DISK_PAUSE_MS, signal)
      }
    }
  }

  /** Milliseconds to wait before the next attempt; 0 when the event was taken. */
  async #attempt({ event }: QueuedEvent, signal: AbortSignal): Promise<number> {
    const { log } = this.#dependencies
    const endpoint = this.name
    const attempt = await this.#target.post(envelopeOf(event), signal)
    if (signal.aborted) return 0
    this.#count(attempt)
    if (attempt.isDelivered) {
      if (this.#failuresInARow > 0) log.info({ endpoint }, 'an endpoint takes notifications again')
      this.#failuresInARow = 0
      this.#lastFailure = undefined
      return 0
    }
    this.#failuresInARow++
    this.#lastFailure = attempt.reason
    // Once for each time that an endpoint goes away, however long it stays away.
    if (this.#failuresInARow === 1) log.warn({ endpoint, reason: attempt.reason }, 'a notification was not taken')
    const { thresholdFailures, backoffMs } = this.#options
    const failures = { inARow: this.#failuresInARow, thresholdFailures, backoffMs, retryAfterMs: attempt.retryAfterMs }
    return retryDelayMs(failures, Math.random())
  }

  #count({ status, isDelivered }: Attempt): void {
    const { events, statuses } = this.#dependencies.metrics
    const endpoint = this.name
    events.inc({ type: status === undefined ? 'Errors' : isDelivered ? 'Successes' : 'Failures', endpoint })
    if (status !== undefined) statuses.inc({ code: `${status} ${STATUS_CODES[status] ?? ''}`, endpoint })
  }

  #isDead({ queuedAtMs }: QueuedEvent, attempts: number): boolean {
    const { deadAfterAttempts, deadAfterHours } = this.#options
    return attempts >= deadAfterAttempts || Date.now() - queuedAtMs >= deadAfterHours * HOUR_MS
  }

  async #bury(id: string, queued: QueuedEvent): Promise<void> {
    const { db, metrics, log } = this.#dependencies
    const endpoint = this.name
    const reason = this.#lastFailure ?? ''
    const changes = [db.putLast('dead', endpoint, { ...queued, reason }), db.remove('pending', endpoint, id)]
    await this.#finish(changes)
    this.#dead++
    log.warn({ endpoint, event: queued.event.id, reason }, 'a notification was set aside as dead')
    while (this.#dead > this.#options.maxDead) {
      const [oldest] = await db.list('dead', endpoint, '', 1)
      if (oldest === undefined || !(await this.drop(oldest[0]))) break
      metrics.dropped.inc({ endpoint })
    }
    this.#measure()
  }

  /** Not forced to the disk: after a power cut an event goes out once more. */
  async #finish(changes: readonly Change[]): Promise<void> {
    await this.#dependencies.db.write(changes, false)
    this.#pending--
    this.#measure()
  }

  async #news(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      if (this.#hasNews || signal.aborted) resolve()
    })
  }

  #measure(): void {
    const { metrics } = this.#dependencies
    metrics.pending.set({ endpoint: this.name }, this.#pending)
    metrics.dead.set({ endpoint: this.name }, this.#dead)
  }
}
