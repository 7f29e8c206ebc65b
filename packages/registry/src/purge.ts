import { BackgroundLoop, errorChain, type Logger, pause, type Startable } from '@shoal/core'
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
  readonly #loop = new BackgroundLoop((signal) => this.#purge(signal))

  /** @param expireAfterHours age of an upload from which it is thrown away */
  constructor(expireAfterHours: number, dependencies: UploadPurgeDependencies) {
    this.#maxAgeMs = expireAfterHours * HOUR_MS
    this.#dependencies = dependencies
  }

  start(): Promise<void> {
    return this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  async #purge(signal: AbortSignal): Promise<void> {
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
