import { createHash } from 'node:crypto'
import type { RecentRecords } from '../store/recent-records.ts'
import type { OriginRepository } from './contents.ts'

const MAX_GRANTS = 50_000
/** An earlier yes stands in for an origin that is away no longer than this. */
const STANDS_IN_FOR_MS = 24 * 60 * 60_000

/**
 * Whom origins let read which repository. Credentials are kept only as a hash, and only in memory; that anybody may read a
 * repository outlives the process.
 */
export class Grants {
  readonly #ttlMs: number
  readonly #now: () => number
  /** Repositories that anybody may read → when their origin last said so. */
  readonly #public: RecentRecords<number>
  /** Repository and credentials → when the origin last said yes; the oldest first. */
  readonly #grants = new Map<string, number>()

  /**
   * @param options.ttlMs how long the origin's yes holds
   * @param dependencies.now milliseconds since 1970
   */
  constructor(
    options: { ttlMs: number },
    dependencies: { publicRepositories: RecentRecords<number>; now: () => number },
  ) {
    this.#ttlMs = options.ttlMs
    this.#public = dependencies.publicRepositories
    this.#now = dependencies.now
  }

  /** The origin let these credentials read the repository. */
  add(where: OriginRepository, authorization: string | undefined): void {
    const nowMs = this.#now()
    const key = keyOf(where, authorization)
    this.#grants.delete(key)
    this.#grants.set(key, nowMs)
    const [oldest] = this.#grants.keys()
    if (this.#grants.size > MAX_GRANTS && oldest !== undefined) this.#grants.delete(oldest)
    if (authorization === undefined) this.#public.set(publicKeyOf(where), nowMs)
  }

  /** The origin refused: what it said before no longer counts, not even while it is away. */
  revoke(where: OriginRepository, authorization: string | undefined): void {
    this.#grants.delete(keyOf(where, authorization))
    if (authorization === undefined) this.#public.delete(publicKeyOf(where))
  }

  /** Whether the origin's yes to the repository still holds. */
  holds(where: OriginRepository, authorization: string | undefined): boolean {
    return isWithin(this.#ttlMs, this.#grants.get(keyOf(where, authorization)), this.#now())
  }

  /** Whether the origin said yes within the last day, or lets anybody read: enough while it cannot be asked. */
  standsIn(where: OriginRepository, authorization: string | undefined): boolean {
    const yes = [this.#grants.get(keyOf(where, authorization)), this.#public.get(publicKeyOf(where))]
    return yes.some((atMs) => isWithin(STANDS_IN_FOR_MS, atMs, this.#now()))
  }
}

/** Reads what a record of a repository that anybody may read held. */
export function decodeTime(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function isWithin(spanMs: number, atMs: number | undefined, nowMs: number): boolean {
  return atMs !== undefined && nowMs >= atMs && nowMs - atMs < spanMs
}

function keyOf({ registry, repository }: OriginRepository, authorization: string | undefined): string {
  return createHash('sha256')
    .update(JSON.stringify([registry, repository, authorization ?? null]))
    .digest('base64')
}

function publicKeyOf({ registry, repository }: OriginRepository): string {
  return `${registry}/${repository}`
}
