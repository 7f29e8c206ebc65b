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
 * For how long records wait that can. A swarm of sixteen nodes that all tell the DHT at its start spends more on that
 * than on its first pieces (docs/benchmarks.md, "Swarm on shaped links").
 */
const WAIT_MS = { least: 60_000, most: 120_000 }
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
  /** How long this node's records wait that can; the same for all, so that they are due in their order. */
  readonly #waitMs: number
  readonly #queue = new Set<string>()
  /** Blobs whose record waits, and until when. */
  readonly #waiting = new Map<string, number>()
  /** Blobs of which the DHT is or was told. */
  readonly #told = new Set<string>()
  readonly #pace = new Pace(PACE)
  #running = 0
  #timer: NodeJS.Timeout | undefined
  #stopping = new AbortController()

  constructor(dependencies: ProviderRecordsDependencies) {
    this.#dependencies = dependencies
    this.#waitMs = WAIT_MS.least + dependencies.random() * (WAIT_MS.most - WAIT_MS.least)
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
    this.#waiting.clear()
    this.#told.clear()
  }

  /** @param canWait other nodes are in the DHT who hold the blob: the record waits as long as there is a scheduler */
  add(digest: string, canWait: boolean): void {
    if (this.#told.has(digest)) return
    if (canWait && this.#dependencies.hasScheduler()) {
      if (this.#waiting.size < MAX_QUEUED && !this.#waiting.has(digest)) {
        this.#waiting.set(digest, this.#dependencies.now() + this.#waitMs)
      }
      return
    }
    this.#waiting.delete(digest)
    if (this.#queue.size >= MAX_QUEUED) return
    this.#queue.add(digest)
    this.#told.add(digest)
    const [oldest] = this.#told
    if (this.#told.size > MAX_TOLD && oldest !== undefined) this.#told.delete(oldest)
    this.#pump()
  }

  /** Takes up what has waited for long enough: all of it when there is no scheduler. */
  #look(): void {
    const { hasScheduler, now } = this.#dependencies
    const untilMs = hasScheduler() ? now() : Number.POSITIVE_INFINITY
    for (const [digest, dueMs] of this.#waiting) {
      if (dueMs > untilMs) return
      this.add(digest, false)
    }
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
