import { type PullShelf, timeOf } from '../retention/pull-shelf.ts'
import type { Redis } from './redis.ts'

const [PULLS, SINCE] = ['pulls', 'pulls-since']

/** The times of what clients pulled from any replica. Calls throw RegistryError `UNAVAILABLE`. */
export class SharedPullShelf implements PullShelf {
  readonly #redis: Redis

  constructor(redis: Redis) {
    this.#redis = redis
  }

  /** Counts from now on, if nobody does yet. */
  async start(): Promise<void> {
    // Without Redis it begins with the first pull.
    await this.sinceMs().catch(() => {})
  }

  async stop(): Promise<void> {}

  /** A Redis that lost its memory begins anew: all counts as pulled then. */
  async sinceMs(): Promise<number> {
    const now = Date.now()
    const since = await this.#redis.run(async (client) => {
      await client.set(SINCE, String(now), { condition: 'NX' })
      return client.get(SINCE)
    })
    return timeOf(since) ?? now
  }

  async get(key: string): Promise<number | undefined> {
    return timeOf(await this.#redis.run((client) => client.hGet(PULLS, key)))
  }

  async put(entries: readonly (readonly [key: string, ms: number])[]): Promise<void> {
    // Redis may have lost it.
    await this.sinceMs()
    await this.#redis.run((client) => client.hSet(PULLS, Object.fromEntries(entries)))
  }

  async delete(key: string): Promise<void> {
    await this.#redis.run((client) => client.hDel(PULLS, key))
  }
}
