import type { Logger } from '@shoal/core'
import type { SwarmMetrics } from './metrics.ts'
import { Pace } from './pace.ts'

const PARALLEL = 4
const MAX_QUEUED = 100_000
/** Blobs of which it is remembered that the DHT was told. */
const MAX_TOLD = 100_000
/**
 * A record costs this node and each neighbour that takes it some milliseconds of CPU, more than a small blob itself.
 * An image's layers go at once; of thousands of blobs the records follow in the background.
 */
const PACE = { burst: 32, perSecond: 4 }
/**
 * For how long records wait while there is a scheduler. At its start a swarm has better things to do: sixteen nodes that
 * all told the DHT spent more on that than on their first pieces, and eight that only took the seed's records of an
 * image's layers half of their main threads' time (docs/benchmarks.md, "Swarm on shaped links"). Those of who has it
 * first are there before a download loses patience with its scheduler (`download.patienceMs`).
 */
const WAIT_MS = { first: { least: 8_000, most: 14_000 }, others: { least: 60_000, most: 120_000 } }
/** How soon it is seen that there is no scheduler any more. */
const LOOK_MS = 250

interface ProviderRecordsDependencies {
  /** Puts the record of a blob into the DHT. */
  readonly put: (digest: string, signal: AbortSignal) => Promise<void>
  /** Whether there is a node that could take a record. */
  readonly hasNeighbour: () => boolean
  /** Whether a scheduler tells nodes of each other: then records may wait. */
  readonly hasScheduler: () => boolean
  readonly metrics: Pick<SwarmMetrics, 'provided'>
  readonly log: Logger
  /** Milliseconds of a clock that does not step back. */
  readonly now: () => number
  /** Resolves after so many milliseconds, or when the signal aborts. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>
  /** 0 ≤ x < 1; spreads the records of many nodes. */
  readonly random: () => number
}

/**
 * Says in the DHT which blobs this node holds some of: in the background, one after the other, tried again while nobody
 * is there. Each is told once; the DHT tells it again by itself.
 */
export class ProviderRecords {
  readonly #dependencies: ProviderRecordsDependencies
  readonly #queue = new Set<string>()
  readonly #firsts: WaitingRecords
  readonly #others: WaitingRecords
  /** Blobs of which the DHT is or was told. */
  readonly #told = new Set<string>()
  readonly #pace = new Pace(PACE)
  #running = 0
  #timer: NodeJS.Timeout | undefined
  #stopping = new AbortController()

  constructor(dependencies: ProviderRecordsDependencies) {
    this.#dependencies = dependencies
    const between = ({ least, most }: { least: number; most: number }) => least + dependencies.random() * (most - least)
    this.#firsts = new WaitingRecords(between(WAIT_MS.first))
    this.#others = new WaitingRecords(between(WAIT_MS.others))
  }

  start(): void {
    this.#stopping = new AbortController()
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#stopping.abort()
    this.#queue.clear()
    this.#firsts.clear()
    this.#others.clear()
    this.#told.clear()
  }

  /** @param isFirst no other node that holds the blob is in the DHT: the record waits for less long */
  add(digest: string, isFirst: boolean): void {
    if (this.#told.has(digest)) return
    if (!this.#dependencies.hasScheduler()) {
      this.#enqueue(digest)
      return
    }
    const nowMs = this.#dependencies.now()
    if (isFirst) {
      this.#others.delete(digest)
      this.#firsts.add(digest, nowMs)
    } else if (!this.#firsts.has(digest)) this.#others.add(digest, nowMs)
  }

  /** Takes up what has waited for long enough: all of it when there is no scheduler. */
  #look(): void {
    const { hasScheduler, now } = this.#dependencies
    const nowMs = hasScheduler() ? now() : Number.POSITIVE_INFINITY
    for (const waiting of [this.#firsts, this.#others])
      for (const digest of waiting.takeDue(nowMs)) this.#enqueue(digest)
  }

  #enqueue(digest: string): void {
    this.#firsts.delete(digest)
    this.#others.delete(digest)
    if (this.#queue.size >= MAX_QUEUED) return
    this.#queue.add(digest)
    this.#told.add(digest)
    const [oldest] = this.#told
    if (this.#told.size > MAX_TOLD && oldest !== undefined) this.#told.delete(oldest)
    this.#pump()
  }

  #pump(): void {
    while (this.#running < PARALLEL) {
      const [digest] = this.#queue
      if (digest === undefined) return
      this.#queue.delete(digest)
      this.#running++
      void this.#tell(digest).finally(() => {
        this.#running--
        this.#pump()
      })
    }
  }

  async #tell(digest: string): Promise<void> {
    const { hasNeighbour, log, metrics, now, pause, put } = this.#dependencies
    const { signal } = this.#stopping
    await pause(this.#pace.take(now()), signal)
    for (let waitMs = 1000; !signal.aborted; waitMs = Math.min(60_000, waitMs * 2)) {
      try {
        if (hasNeighbour()) {
          await put(digest, signal)
          metrics.provided.inc()
          return
        }
      } catch (error) {
        log.debug({ digest, err: error }, 'the DHT did not take a provider record; trying again')
      }
      await pause(waitMs, signal)
    }
  }
}

/** Blobs whose records wait, all for as long: they are due in their order. */
class WaitingRecords {
  readonly #waitMs: number
  readonly #dueMs = new Map<string, number>()

  constructor(waitMs: number) {
    this.#waitMs = waitMs
  }

  has(digest: string): boolean {
    return this.#dueMs.has(digest)
  }

  add(digest: string, nowMs: number): void {
    if (this.#dueMs.size < MAX_QUEUED && !this.#dueMs.has(digest)) this.#dueMs.set(digest, nowMs + this.#waitMs)
  }

  delete(digest: string): void {
    this.#dueMs.delete(digest)
  }

  clear(): void {
    this.#dueMs.clear()
  }

  /** Takes out those that are due by then. */
  *takeDue(nowMs: number): Iterable<string> {
    for (const [digest, dueMs] of this.#dueMs) {
      if (dueMs > nowMs) return
      this.#dueMs.delete(digest)
      yield digest
    }
  }
}
