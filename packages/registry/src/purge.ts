import { errorChain, type Logger, pause, type Startable } from '@shoal/core'
import type { RegistryMetrics } from './metrics.ts'
import type { UploadStore } from './storage/uploads.ts'

const HOUR_MS = 3_600_000
/** Looking through all repositories costs a walk of the tree. */
const EVERY_MS = 6 * HOUR_MS

interface UploadPurgeDependencies {
  readonly uploads: UploadStore
  readonly metrics: RegistryMetrics
  readonly log: Logger
}

/** Throws old unfinished uploads away: once after the start, then every six hours. */
export class UploadPurge implements Startable {
  readonly #maxAgeMs: number
  readonly #dependencies: UploadPurgeDependencies
  #running: { readonly abort: AbortController; readonly done: Promise<void> } | undefined

  /** @param expireAfterHours age of an upload from which it is thrown away */
  constructor(expireAfterHours: number, dependencies: UploadPurgeDependencies) {
    this.#maxAgeMs = expireAfterHours * HOUR_MS
    this.#dependencies = dependencies
  }

  async start(): Promise<void> {
    if (this.#running !== undefined) return
    const abort = new AbortController()
    this.#running = { abort, done: this.#loop(abort.signal) }
  }

  async stop(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    running?.abort.abort()
    await running?.done
  }

  async #loop(signal: AbortSignal): Promise<void> {
    const { uploads, metrics, log } = this.#dependencies
    while (!signal.aborted) {
      try {
        const purged = await uploads.purge(Date.now() - this.#maxAgeMs, signal)
        metrics.uploads.inc({ outcome: 'expired' }, purged)
        if (purged > 0) log.info({ uploads: purged }, 'threw away unfinished uploads that had expired')
      } catch (error) {
        log.warn({ error: errorChain(error) }, 'could not look for expired uploads; will try again')
      }
      await pause(EVERY_MS, signal)
    }
  }
}
