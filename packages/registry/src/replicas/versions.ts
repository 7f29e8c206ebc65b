import type { Redis } from './redis.ts'

/** Names whose replicas have heard of them. */
const MOST_KNOWN = 100_000

/** Counts the changes of what lists are about, so that each replica can tell whether what it knows is still so. */
export interface Versions {
  /** undefined when nobody can say. */
  of(scope: string): Promise<number | undefined>
  /** Counts a change that was made; resolves with the version after it, undefined when nobody could be told. */
  changed(scope: string): Promise<number | undefined>
  /** Whether nobody knew of a repository. */
  isNew(repository: string): Promise<boolean>
}

/** Versions in Redis. */
export class SharedVersions implements Versions {
  readonly #redis: Redis
  readonly #known = new Set<string>()

  constructor(redis: Redis) {
    this.#redis = redis
    // It may have lost its memory.
    redis.onReady(() => this.#known.clear())
  }

  async of(scope: string): Promise<number | undefined> {
    try {
      return Number((await this.#redis.run((client) => client.hGet('versions', scope))) ?? 0)
    } catch {
      return undefined
    }
  }

  async changed(scope: string): Promise<number | undefined> {
    try {
      return await this.#redis.run((client) => client.hIncrBy('versions', scope, 1))
    } catch {
      return undefined
    }
  }

  async isNew(repository: string): Promise<boolean> {
    if (this.#known.has(repository)) return false
    try {
      const added = await this.#redis.run((client) => client.sAdd('repositories', repository))
      if (this.#known.size >= MOST_KNOWN) this.#known.clear()
      this.#known.add(repository)
      return added === 1
    } catch {
      return true
    }
  }
}
