import { type Logger, type Startable, unlessAborted } from '@shoal/core'
import { isOriginAway, type OriginClient, OriginError } from '@shoal/origin'
import { RecentRecords, type RecordTable } from '../store/recent-records.ts'
import { Contents, decodeContent, type OriginContent, type OriginRepository } from './contents.ts'
import { decodeTime, Grants } from './grants.ts'

const MAX_CONTENTS = 50_000
const MAX_PUBLIC_REPOSITORIES = 10_000

/** A repository, and what to show to its registry. */
export interface OriginReader extends OriginRepository {
  /** `Authorization` header of the client; undefined: configured credentials, else none. */
  readonly authorization?: string | undefined
}

interface RightsDependencies {
  readonly origin: Pick<OriginClient, 'headBlob'>
  readonly table: RecordTable
  readonly log: Logger
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

/**
 * Who may read what of the cache, which is by digest and shared by all. Two things must hold: the origin let the same
 * credentials read the repository a short while ago, and it said that the content is in that repository. A refusal
 * takes back at once what was said before.
 */
export class Rights implements Startable {
  readonly contents: Contents
  readonly #grants: Grants
  readonly #records: readonly Startable[]
  readonly #origin: Pick<OriginClient, 'headBlob'>
  readonly #stopping = new AbortController()
  /** Questions under way, each asked once however many wait for its answer. */
  readonly #asking = new Map<string, Promise<number>>()

  /** @param options.ttlMs how long the origin's yes holds */
  constructor(options: { ttlMs: number }, dependencies: RightsDependencies) {
    const { origin, now = Date.now } = dependencies
    this.#origin = origin
    const contents = new RecentRecords<OriginContent>(
      { prefix: 'origin-content!', most: MAX_CONTENTS, decode: decodeContent },
      dependencies,
    )
    const publicRepositories = new RecentRecords<number>(
      { prefix: 'public-repository!', most: MAX_PUBLIC_REPOSITORIES, decode: decodeTime },
      dependencies,
    )
    this.#records = [contents, publicRepositories]
    this.contents = new Contents(contents, now)
    this.#grants = new Grants(options, { publicRepositories, now })
  }

  async start(): Promise<void> {
    for (const records of this.#records) await records.start()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await Promise.allSettled(this.#asking.values())
    for (const records of this.#records) await records.stop()
  }

  /** The origin let the reader have something of the repository. */
  granted(reader: OriginReader): void {
    this.#grants.add(reader, reader.authorization)
  }

  /** Whether the origin's yes to the reader still holds. */
  isGranted(reader: OriginReader): boolean {
    return this.#grants.holds(reader, reader.authorization)
  }

  /** Whether `error` says no more than that the origin cannot be asked, and an earlier yes to the reader may stand in. */
  standsIn(reader: OriginReader, error: unknown): boolean {
    return isOriginAway(error) && this.#grants.standsIn(reader, reader.authorization)
  }

  /** Whether an earlier yes would stand in if the origin were away. */
  mayStandIn(reader: OriginReader): boolean {
    return this.#grants.standsIn(reader, reader.authorization)
  }

  /** Takes back what a refusal refutes; of every other error it learns nothing. */
  failed(reader: OriginReader, error: unknown, digest?: string): void {
    if (!(error instanceof OriginError) || !isRefusal(error)) return
    const wasLetIn = this.#grants.standsIn(reader, reader.authorization)
    this.#grants.revoke(reader, reader.authorization)
    // Only who may read the repository learns what is not in it any more.
    if (digest !== undefined && wasLetIn && !SAYS_NOTHING_OF_CONTENT.has(error.code))
      this.contents.forget(reader, digest)
  }

  /**
   * Bytes of a blob, by the word of its origin, which also lets the reader have it. Asked once however many wait.
   * Rejects with OriginError, with the signal's reason when it aborts.
   */
  async confirm(reader: OriginReader, digest: string, signal: AbortSignal): Promise<number> {
    const { registry, repository, authorization } = reader
    const key = JSON.stringify([registry, repository, digest, authorization ?? null])
    const asking = this.#asking.get(key) ?? this.#ask(reader, digest).finally(() => this.#asking.delete(key))
    this.#asking.set(key, asking)
    return unlessAborted(asking, signal)
  }

  async #ask(reader: OriginReader, digest: string): Promise<number> {
    try {
      const { registry, repository, authorization } = reader
      // Whoever may be served without an answer does not wait for an origin that limits our rate.
      const canStandIn = this.contents.find(reader, digest) !== undefined && this.mayStandIn(reader)
      const maxWaitMs = canStandIn ? 0 : undefined
      const call = { registry, repository, authorization, digest, maxWaitMs, signal: this.#stopping.signal }
      const { size } = await this.#origin.headBlob(call)
      this.granted(reader)
      this.contents.saw(reader, digest, size)
      return size
    } catch (error) {
      this.failed(reader, error, digest)
      throw error
    }
  }
}

const REFUSALS: ReadonlySet<string> = new Set(['UNAUTHORIZED', 'DENIED', 'NOT_FOUND'])
const SAYS_NOTHING_OF_CONTENT: ReadonlySet<string> = new Set(['UNAUTHORIZED', 'DENIED'])
/** Gone, and unavailable for legal reasons. */
const REFUSAL_STATUSES: ReadonlySet<number | undefined> = new Set([410, 451])

function isRefusal({ code, data }: OriginError): boolean {
  return REFUSALS.has(code) || REFUSAL_STATUSES.has(data.status)
}
