import { isDigest } from '@shoal/core'
import { acceptClass } from './accept.ts'
import type { Upstream } from './upstream.ts'

/** What a tag was last seen to mean. */
export interface KnownTag {
  readonly digest: string
  /** Milliseconds since 1970. */
  readonly seenMs: number
}

/** Where what tags meant is kept, the newest of it. */
export interface TagRecords {
  get(key: string): KnownTag | undefined
  set(key: string, value: KnownTag): void
}

/** A tag, and the manifests its client takes. */
interface TagQuestion {
  readonly upstream: Upstream
  readonly reference: string
  readonly accept: string | undefined
}

/** Any answer, whatever the client takes. */
const ANY = '*'

/** What tags last meant: an origin may answer by `Accept` with an index, or with one platform's manifest. */
export class Tags {
  readonly #records: TagRecords
  readonly #ttlMs: number
  readonly #now: () => number

  /**
   * @param options.tagTtlMs how long an answer is taken without asking
   * @param dependencies.now milliseconds since 1970
   */
  constructor(options: { tagTtlMs: number }, dependencies: { records: TagRecords; now: () => number }) {
    this.#ttlMs = options.tagTtlMs
    this.#records = dependencies.records
    this.#now = dependencies.now
  }

  /** The digest, if the origin said so a short while ago to a client that takes the same. */
  recent(question: TagQuestion): string | undefined {
    const taken = acceptClass(question.accept)
    const known = taken === undefined ? undefined : this.#records.get(keyOf(question, taken))
    const ageMs = known === undefined ? Number.POSITIVE_INFINITY : this.#now() - known.seenMs
    return ageMs >= 0 && ageMs < this.#ttlMs ? known?.digest : undefined
  }

  /** The digest, however long ago the origin said so: to a client that takes the same, else to any. */
  last(question: TagQuestion): string | undefined {
    const taken = acceptClass(question.accept)
    const own = taken === undefined ? undefined : this.#records.get(keyOf(question, taken))
    return (own ?? this.#records.get(keyOf(question, ANY)))?.digest
  }

  /** The origin said what the tag means. */
  saw(question: TagQuestion, digest: string): void {
    const known = { digest, seenMs: this.#now() }
    const taken = acceptClass(question.accept)
    if (taken !== undefined) this.#records.set(keyOf(question, taken), known)
    this.#records.set(keyOf(question, ANY), known)
  }
}

/** Reads what a record of a tag held. */
export function decodeTag(value: unknown): KnownTag | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { digest, seenMs } = value as Record<string, unknown>
  return typeof digest === 'string' && isDigest(digest) && typeof seenMs === 'number' ? { digest, seenMs } : undefined
}

function keyOf({ upstream, reference }: TagQuestion, taken: string): string {
  return `${upstream.registry}/${upstream.repository}:${reference} ${taken}`
}
