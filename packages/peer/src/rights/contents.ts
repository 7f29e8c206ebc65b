import type { RecentRecords } from '../store/recent-records.ts'

/** A repository of a registry. */
export interface OriginRepository {
  readonly registry: string
  readonly repository: string
}

/** What a registry said of a blob or manifest in one of its repositories. */
export interface OriginContent {
  /** Bytes. */
  readonly size: number
  /** Of a manifest, as the registry served it; undefined: a blob. */
  readonly mediaType?: string
  /** Whether the registry was seen to hold the bytes: it sent them, or answered for random parts of them. */
  readonly isProven: boolean
  /** When it was last asked, milliseconds since 1970. */
  readonly askedMs: number
}

/** What a registry once said is asked again after this. */
const HOLDS_FOR_MS = 24 * 60 * 60_000

/**
 * What is in which repository, by the word of its registry for that blob in that repository. A manifest that names a
 * blob says nothing: whoever may push can write any digest into one. Nor does one registry speak for another.
 */
export class Contents {
  readonly #records: RecentRecords<OriginContent>
  readonly #now: () => number

  /** @param now milliseconds since 1970 */
  constructor(records: RecentRecords<OriginContent>, now: () => number) {
    this.#records = records
    this.#now = now
  }

  /** What is known, however old; undefined: nothing. */
  find(where: OriginRepository, digest: string): OriginContent | undefined {
    return this.#records.get(keyOf(where, digest))
  }

  /** Whether what is known is new enough to go by without asking. */
  isFresh({ askedMs }: OriginContent): boolean {
    const ageMs = this.#now() - askedMs
    return ageMs >= 0 && ageMs < HOLDS_FOR_MS
  }

  /** The registry said that it has the content; a proof holds on while the size is the same. */
  saw(where: OriginRepository, digest: string, size: number): void {
    const known = this.find(where, digest)
    const isSame = known?.size === size
    const mediaType = isSame && known.mediaType !== undefined ? { mediaType: known.mediaType } : {}
    this.#set(where, digest, { size, isProven: isSame && known.isProven, ...mediaType })
  }

  /** The registry sent a manifest. */
  sawManifest(where: OriginRepository, digest: string, manifest: { size: number; mediaType: string }): void {
    const { size, mediaType } = manifest
    this.#set(where, digest, { size, mediaType, isProven: true })
  }

  /** Whether the registry was seen to hold the bytes. */
  isProven(where: OriginRepository, digest: string): boolean {
    return this.find(where, digest)?.isProven === true
  }

  /** The registry was seen to hold the bytes of a blob of `size` bytes. */
  proven(where: OriginRepository, digest: string, size: number): void {
    this.#set(where, digest, { size, isProven: true })
  }

  /** The registry no longer has the content, or does not let anybody know. */
  forget(where: OriginRepository, digest: string): void {
    this.#records.delete(keyOf(where, digest))
  }

  #set(where: OriginRepository, digest: string, content: Omit<OriginContent, 'askedMs'>): void {
    this.#records.set(keyOf(where, digest), { ...content, askedMs: this.#now() })
  }
}

/** Reads what a record held. */
export function decodeContent(value: unknown): OriginContent | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { size, mediaType, isProven, askedMs } = value as Record<string, unknown>
  if (!Number.isSafeInteger(size) || (size as number) < 0) return undefined
  if (typeof isProven !== 'boolean' || typeof askedMs !== 'number') return undefined
  if (mediaType !== undefined && typeof mediaType !== 'string') return undefined
  return { size: size as number, isProven, askedMs, ...(mediaType === undefined ? {} : { mediaType }) }
}

function keyOf({ registry, repository }: OriginRepository, digest: string): string {
  return `${registry}/${repository}@${digest}`
}
