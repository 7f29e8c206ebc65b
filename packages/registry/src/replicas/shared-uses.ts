import { BackgroundLoop, type Digest, formatDigest, pause, type Startable } from '@shoal/core'
import type { UseRecord } from '../storage/content-uses.ts'
import type { Redis } from './redis.ts'

/** Some 250 MiB of Redis's memory. */
const MOST_REMEMBERED = 2_000_000
const TRIM_EVERY_MS = 60_000
const DAY_MS = 86_400_000
const KEYS = ['uses', 'uses-since']

/** The uses that all replicas saw. */
export class SharedUses implements UseRecord, Startable {
  readonly #redis: Redis
  readonly #keepMs: number
  readonly #loop = new BackgroundLoop((signal) => this.#trimAgainAndAgain(signal))
  #areMissing = false

  /** @param graceMs how far back collections ask */
  constructor(redis: Redis, graceMs: number) {
    this.#redis = redis
    // A collection may take long.
    this.#keepMs = graceMs + DAY_MS
    redis.onReady(() => void this.#tellOfMissing())
  }

  start(): Promise<void> {
    return this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** Throws RegistryError `UNAVAILABLE`. */
  async note(digest: Digest): Promise<void> {
    try {
      await this.#redis.run((client) => client.noteUse(KEYS, [formatDigest(digest)]))
    } catch (error) {
      this.#areMissing = true
      throw error
    }
  }

  /** Uses have the time of Redis's clock, which must agree with the caller's to well within the grace. Throws RegistryError `UNAVAILABLE`. */
  async usedSince(digest: Digest, sinceMs: number): Promise<boolean> {
    const values = [formatDigest(digest), String(Math.floor(sinceMs))]
    return (await this.#redis.run((client) => client.usedSince(KEYS, values))) === 1
  }

  async #tellOfMissing(): Promise<void> {
    if (!this.#areMissing) return
    this.#areMissing = false
    await this.#redis.run((client) => client.doubtUses(KEYS, [])).catch(() => (this.#areMissing = true))
  }

  async #trimAgainAndAgain(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(TRIM_EVERY_MS, signal)
      if (signal.aborted) return
      await this.#tellOfMissing()
      const values = [String(Date.now() - this.#keepMs), String(MOST_REMEMBERED)]
      await this.#redis.run((client) => client.trimUses(KEYS, values)).catch(() => {})
    }
  }
}
