import type { Logger, Startable } from '@shoal/core'
import type { StoreMetrics } from './metrics.ts'
import type { ScrubCounts } from './scrub.ts'

/** Where the node's scrub stands. */
export interface ScrubStatus extends ScrubCounts {
  /** `failed`: it broke off; the log says why. */
  readonly state: 'never' | 'running' | 'done' | 'failed'
  /** ISO 8601; empty while there was none. */
  readonly startedAt: string
  readonly endedAt: string
}

const NOTHING: ScrubCounts = {
  blobs: 0,
  checked: 0,
  checkedBytes: 0,
  damaged: 0,
  adopted: 0,
  removed: 0,
  unreadable: 0,
}

/** Runs scrubs of the store when somebody asks, one at a time. */
export class Scrubber implements Startable {
  readonly #scrub: (signal: AbortSignal, report: (counts: ScrubCounts) => void) => Promise<ScrubCounts>
  readonly #isDueAtStart: () => boolean
  readonly #metrics: StoreMetrics
  readonly #log: Logger
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined
  #status: ScrubStatus = { state: 'never', startedAt: '', endedAt: '', ...NOTHING }

  constructor(dependencies: {
    scrub: (signal: AbortSignal, report: (counts: ScrubCounts) => void) => Promise<ScrubCounts>
    /** Whether there are files that the index does not know, to be taken up at the start; left out: never. */
    isDueAtStart?: () => boolean
    metrics: StoreMetrics
    log: Logger
  }) {
    this.#isDueAtStart = dependencies.isDueAtStart ?? (() => false)
    this.#scrub = dependencies.scrub
    this.#metrics = dependencies.metrics
    this.#log = dependencies.log
  }

  get status(): ScrubStatus {
    return this.#status
  }

  /** Starts a scrub; false when one is running. */
  begin(): boolean {
    if (this.#running !== undefined || this.#stopping.signal.aborted) return false
    this.#status = { state: 'running', startedAt: new Date().toISOString(), endedAt: '', ...NOTHING }
    this.#running = this.#run().finally(() => {
      this.#running = undefined
    })
    return true
  }

  async start(): Promise<void> {
    if (this.#isDueAtStart()) this.begin()
  }

  /** Breaks off the scrub that runs. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    try {
      const counts = await this.#scrub(this.#stopping.signal, (counted) => {
        this.#status = { ...this.#status, ...counted }
      })
      this.#end({ ...counts, state: 'done' })
      this.#metrics.scrubEnd.setToCurrentTime()
      this.#log.info(counts, 'scrub ended')
    } catch (error) {
      this.#end({ state: 'failed' })
      if (!this.#stopping.signal.aborted) this.#log.error({ err: error }, 'scrub broke off')
    }
  }

  #end(end: Partial<ScrubStatus>): void {
    this.#status = { ...this.#status, ...end, endedAt: new Date().toISOString() }
  }
}
