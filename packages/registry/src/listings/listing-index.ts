import {
  type Descriptor,
  type Digest,
  errorChain,
  formatDigest,
  type Logger,
  type Startable,
  tryParseDigest,
} from '@shoal/core'
import type { References } from '../gc/liveness.ts'
import { readContent } from '../gc/references.ts'
import type { Versions } from '../replicas/versions.ts'
import type { StorageDriver } from '../storage/driver.ts'
import type { ManifestStore } from '../storage/manifests.ts'
import { type IndexChange, type IndexDb, indexKeys, type KeyRange, lastOf } from './index-db.ts'
import type { Listings } from './listings.ts'
import { factsIn, factsOf } from './manifest-facts.ts'
import type { IndexMetrics } from './metrics.ts'

interface IndexDependencies {
  readonly db: IndexDb
  /** Lists as the storage has them. */
  readonly stored: Listings
  readonly driver: StorageDriver
  /** For walks: what they look at is not used by anybody. */
  readonly manifests: ManifestStore
  /** Told of what clients are told is there. */
  readonly used: (digest: Digest) => Promise<void>
  /** Counts what all replicas change; undefined when this is the only one. */
  readonly versions?: Versions | undefined
  readonly metrics: IndexMetrics
  readonly log: Logger
  readonly now?: () => number
}

/** All names, among repositories that are followed. */
const NAMES = ''
/** Repositories that are followed: some 20 MiB of memory. What is one too many is walked again when it is asked for. */
const MOST_FOLLOWED = 100_000
const MOST_WAITING = 1000
const READ_TOGETHER = 16
/** After a walk or a write that failed the storage alone is asked for so long. */
const REST_MS = 60_000

/** A replica that dies between a change and the word of it leaves the others wrong for so long. */
const MOST_BELIEVED_MS = 10 * 60_000

/** Since when, and from which version on, a repository is followed. */
interface Followed {
  readonly sinceMs: number
  version: number
}

/** A walk that goes on. */
interface Walk {
  /** Keys that were changed since it began: the walk may have seen them as they were before. */
  readonly changed: Set<string>
  /** Changes of this replica since it began. */
  counted: number
  isVoid: boolean
}

function put(key: string): IndexChange {
  return { type: 'put', key, value: '' }
}

function remove(key: string): IndexChange {
  return { type: 'del', key }
}

/**
 * Answers lists without a walk over the storage. A list that is asked for the first time is answered by the storage, and
 * its repository walked once; from then on every change is followed, as it happens. All changes must come through here:
 * what else changes the storage is to say `forgetAll`.
 */
export class ListingIndex implements Listings, Startable {
  readonly #dependencies: IndexDependencies
  readonly #now: () => number
  /** Oldest first. */
  readonly #followed = new Map<string, Followed>()
  readonly #walks = new Map<string, Walk>()
  readonly #waiting = new Set<string>()
  #working: Promise<void> | undefined
  #restUntilMs = 0
  #isStopped = false

  constructor(dependencies: IndexDependencies) {
    this.#dependencies = dependencies
    this.#now = dependencies.now ?? Date.now
  }

  async start(): Promise<void> {
    await this.#dependencies.db.start()
    this.#isStopped = false
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#waiting.clear()
    await this.#working
    this.forgetAll()
    await this.#dependencies.db.stop()
  }

  async repositories(limit: number, after?: string): Promise<string[]> {
    const { db, stored } = this.#dependencies
    const keys = await this.#ask('repositories', NAMES, () => db.keys(indexKeys.repositories(after), limit))
    return keys?.map(indexKeys.repositoryIn) ?? stored.repositories(limit, after)
  }

  async tags(repository: string, limit: number, after?: string): Promise<string[] | undefined> {
    const { db, stored } = this.#dependencies
    const keys = await this.#ask('tags', repository, () => db.keys(indexKeys.tags(repository, after), limit))
    return keys?.map(lastOf) ?? stored.tags(repository, limit, after)
  }

  async *referrers(repository: string, subject: Digest, after?: string): AsyncGenerator<Descriptor> {
    const { db, stored, used } = this.#dependencies
    const range = indexKeys.referrers(repository, formatDigest(subject), after)
    const keys = await this.#ask('referrers', repository, () => db.keys(range))
    if (keys === undefined) {
      yield* stored.referrers(repository, subject, after)
      return
    }
    for (const digest of keys.map((key) => tryParseDigest(lastOf(key)))) {
      const descriptor = digest && (await factsIn(this.#facts, repository, digest))?.descriptor
      if (digest === undefined || descriptor === undefined) continue
      await used(digest)
      yield descriptor
    }
  }

  /** Waits until nothing is being walked. */
  async settle(): Promise<void> {
    await this.#working
  }

  /** A repository holds something. */
  async held(repository: string): Promise<void> {
    const { versions } = this.#dependencies
    if (versions !== undefined && !(await versions.isNew(repository))) return
    await this.#follow(NAMES, put(indexKeys.repository(repository)))
  }

  async tagged(repository: string, tag: string): Promise<void> {
    await this.held(repository)
    await this.#follow(repository, put(indexKeys.tag(repository, tag)))
  }

  async untagged(repository: string, tag: string): Promise<void> {
    await this.#follow(repository, remove(indexKeys.tag(repository, tag)))
  }

  /** A manifest became visible in a repository. */
  async linked(repository: string, digest: Digest): Promise<void> {
    await this.held(repository)
    await this.#followRevision(repository, digest, put)
  }

  /** A manifest is not visible in a repository any more. */
  async unlinked(repository: string, digest: Digest): Promise<void> {
    await this.#followRevision(repository, digest, remove)
  }

  /** What a manifest names; undefined when it is not there, or damaged, or can not be read. */
  async references(digest: Digest): Promise<References | undefined> {
    const { db, driver } = this.#dependencies
    const key = formatDigest(digest)
    const known = await db.get(key).catch(() => undefined)
    if (known !== undefined) return known.references
    const bytes = await readContent(driver, digest)
    if (bytes !== undefined) await this.stored(digest, bytes)
    return bytes === undefined ? undefined : factsOf(key, bytes).references
  }

  /** The content of a manifest was stored. @param bytes have the digest */
  async stored(digest: Digest, bytes: Uint8Array): Promise<void> {
    const key = formatDigest(digest)
    await this.#orForgetAll(() => this.#dependencies.db.put(key, factsOf(key, bytes)))
  }

  /** A content, which may be a manifest, is gone from the storage. */
  async removed(digest: Digest): Promise<void> {
    await this.#orForgetAll(() => this.#dependencies.db.forget(formatDigest(digest)))
  }

  /** Something of a repository may have changed. */
  forget(repository: string): void {
    this.#followed.delete(repository)
    const walk = this.#walks.get(repository)
    if (walk !== undefined) walk.isVoid = true
    this.#dependencies.metrics.repositories.set(this.#countFollowed())
  }

  /** A change of a repository failed, and may have been made by half. */
  async doubted(repository: string): Promise<void> {
    this.forget(repository)
    await this.#count(repository)
  }

  /** Anything may have changed. */
  forgetAll(): void {
    this.#followed.clear()
    for (const walk of this.#walks.values()) walk.isVoid = true
    this.#dependencies.metrics.repositories.set(0)
  }

  /** What the index knows of a repository; undefined when it does not follow it, but will. */
  async #ask<T>(of: string, scope: string, read: () => Promise<T>): Promise<T | undefined> {
    const { metrics } = this.#dependencies
    if (await this.#isBelieved(scope)) {
      const known = await this.#orForgetAll(read)
      // What was forgotten meanwhile may not be all that is there.
      if (known !== undefined && this.#followed.has(scope)) {
        metrics.lists.inc({ of, from: 'index' })
        return known
      }
    }
    this.#want(scope)
    metrics.lists.inc({ of, from: 'storage' })
    return undefined
  }

  get #facts() {
    const { db, manifests } = this.#dependencies
    return { manifests, facts: db }
  }

  /** undefined when nobody can say. */
  async #versionOf(scope: string): Promise<number | undefined> {
    const { versions } = this.#dependencies
    return versions === undefined ? 0 : versions.of(scope)
  }

  async #isBelieved(scope: string): Promise<boolean> {
    const { versions } = this.#dependencies
    const followed = this.#followed.get(scope)
    if (followed === undefined || versions === undefined) return followed !== undefined
    const isOld = this.#now() - followed.sinceMs > MOST_BELIEVED_MS
    if (!isOld && (await this.#versionOf(scope)) === followed.version) return true
    this.forget(scope)
    return false
  }

  async #followRevision(repository: string, digest: Digest, changeOf: (key: string) => IndexChange): Promise<void> {
    // Who does not follow it need not know what it refers to.
    const isFollowed = this.#isFollowed(repository)
    const facts = isFollowed ? await this.#orForgetAll(() => factsIn(this.#facts, repository, digest)) : undefined
    const subject = facts?.references?.subject
    if (subject !== undefined) {
      const key = indexKeys.referrer(repository, subject, formatDigest(digest))
      await this.#follow(repository, changeOf(key))
    } else if (facts === undefined) {
      // What it refers to is not known, so that nothing can be put in or taken out for it.
      if (isFollowed) this.forget(repository)
      await this.#count(repository)
    }
  }

  #isFollowed(scope: string): boolean {
    return this.#followed.has(scope) || this.#walks.has(scope)
  }

  async #follow(scope: string, change: IndexChange): Promise<void> {
    if (this.#isFollowed(scope)) {
      this.#walks.get(scope)?.changed.add(change.key)
      await this.#orForgetAll(() => this.#dependencies.db.write([change]))
    }
    await this.#count(scope)
  }

  /** Counts a change for the other replicas. What this one knows stays right when none of them changed anything. */
  async #count(scope: string): Promise<void> {
    const { versions } = this.#dependencies
    if (versions === undefined) return
    const version = await versions.changed(scope)
    const walk = this.#walks.get(scope)
    if (walk !== undefined) {
      walk.counted++
      if (version === undefined) walk.isVoid = true
    }
    const followed = this.#followed.get(scope)
    if (followed === undefined) return
    if (followed.version + 1 === version) followed.version = version
    else this.forget(scope)
  }

  /** undefined when it failed: the index is then worth nothing, and what it is for goes on without it. */
  async #orForgetAll<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      this.forgetAll()
      this.#rest(error)
      return undefined
    }
  }

  #rest(error: unknown): void {
    const isNew = this.#now() >= this.#restUntilMs
    this.#restUntilMs = this.#now() + REST_MS
    if (isNew && !this.#isStopped) {
      this.#dependencies.log.warn(
        { error: errorChain(error) },
        'the index fails: lists are made by walks over the storage',
      )
    }
  }

  #want(scope: string): void {
    if (this.#isStopped || this.#waiting.size >= MOST_WAITING || this.#now() < this.#restUntilMs) return
    if (this.#isFollowed(scope)) return
    this.#waiting.add(scope)
    this.#working ??= this.#work()
  }

  async #work(): Promise<void> {
    for (const scope of this.#waiting) {
      this.#waiting.delete(scope)
      await this.#walk(scope)
    }
    this.#working = undefined
  }

  async #walk(scope: string): Promise<void> {
    const { metrics } = this.#dependencies
    const walk: Walk = { changed: new Set(), counted: 0, isVoid: false }
    const [sinceMs, version] = [this.#now(), await this.#versionOf(scope)]
    // Not before: a change that the version knows already must not be counted to it once more.
    this.#walks.set(scope, walk)
    try {
      await (scope === NAMES ? this.#walkNames(walk) : this.#walkRepository(scope, walk))
      if (version === undefined) walk.isVoid = true
      else if (!walk.isVoid && !this.#isStopped) {
        // With a change of another replica in between it is not the version that is asked for.
        this.#followed.set(scope, { sinceMs, version: version + walk.counted })
      }
      metrics.walks.inc({ outcome: 'done' })
    } catch (error) {
      this.#rest(error)
      metrics.walks.inc({ outcome: 'failed' })
    } finally {
      this.#walks.delete(scope)
    }
    for (const oldest of this.#followed.keys()) {
      if (this.#followed.size <= MOST_FOLLOWED) break
      this.#followed.delete(oldest)
    }
    metrics.repositories.set(this.#countFollowed())
  }

  async #walkNames(walk: Walk): Promise<void> {
    const found = await this.#dependencies.stored.repositories(Number.POSITIVE_INFINITY)
    await this.#replace([indexKeys.repositories()], new Set(found.map(indexKeys.repository)), walk)
  }

  async #walkRepository(repository: string, walk: Walk): Promise<void> {
    const { stored } = this.#dependencies
    const found = new Set<string>()
    const tags = await stored.tags(repository, Number.POSITIVE_INFINITY)
    if (tags === undefined) {
      walk.isVoid = true
      return
    }
    for (const tag of tags) found.add(indexKeys.tag(repository, tag))
    for await (const key of this.#referring(repository)) found.add(key)
    await this.#replace([indexKeys.tags(repository), indexKeys.allReferrers(repository)], found, walk)
  }

  async *#referring(repository: string): AsyncGenerator<string> {
    const { manifests } = this.#dependencies
    const revisions = await manifests.revisions(repository)
    for (let i = 0; i < revisions.length && !this.#isStopped; i += READ_TOGETHER) {
      const some = revisions.slice(i, i + READ_TOGETHER)
      const facts = await Promise.all(some.map((digest) => factsIn(this.#facts, repository, digest)))
      for (const [at, digest] of some.entries()) {
        const subject = facts[at]?.references?.subject
        if (subject === undefined || !(await manifests.has(repository, digest))) continue
        yield indexKeys.referrer(repository, subject, formatDigest(digest))
      }
    }
  }

  /** Makes `found` all that the index has in `ranges`, but for what was changed meanwhile. */
  async #replace(ranges: readonly KeyRange[], found: ReadonlySet<string>, { changed }: Walk): Promise<void> {
    const { db } = this.#dependencies
    const changes = [...found].map(put)
    for (const range of ranges) {
      for await (const key of db.eachKey(range)) if (!found.has(key)) changes.push(remove(key))
    }
    await db.write(changes.filter(({ key }) => !changed.has(key)))
  }

  #countFollowed(): number {
    return this.#followed.size - (this.#followed.has(NAMES) ? 1 : 0)
  }
}
