import { type Digest, formatDigest, isRepositoryName, parseDigest } from '@shoal/core'
import type { TagExpiry } from '../retention/expiry.ts'
import type { Policies, RepositoryPolicy } from '../retention/policies.ts'
import type { PullTimes } from '../retention/pull-times.ts'
import { foldersWithContent, storedContents } from '../storage/catalog.ts'
import type { ContentUses } from '../storage/content-uses.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { listDigests, readLink, writeLink } from '../storage/links.ts'
import { ManifestStore } from '../storage/manifests.ts'
import {
  blobPath,
  layerLinkPath,
  layersPath,
  revisionLinkPath,
  tagHistoryPath,
  tagIndexPath,
} from '../storage/paths.ts'
import type { Turns } from '../storage/turns.ts'
import { DigestSet } from './digest-set.ts'
import { Liveness, type References } from './liveness.ts'
import { readReferences } from './references.ts'

/** What is collected. */
export interface CollectionOptions {
  /** Nothing that was stored or used so short a time ago is removed; milliseconds. */
  readonly graceMs: number
  /** What becomes of manifests that no tag, no live index and no live subject leads to, where no policy says it. */
  readonly untagged: 'keep' | 'remove'
  /** Only counts what would be removed. */
  readonly isDryRun: boolean
}

interface CollectionDependencies {
  readonly driver: StorageDriver
  /** Shared with whoever serves clients from the same storage. */
  readonly uses: ContentUses
  /** Turns by repository; shared too. */
  readonly turns: Pick<Turns, 'take'>
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** What is kept in which repositories; all is when undefined. */
  readonly retention?: Retention | undefined
  /** What a manifest names, where somebody knows it without reading it; undefined when it can not be read. */
  readonly references?: ((digest: Digest) => Promise<References | undefined>) | undefined
  /** Told of repositories that lose a blob. */
  readonly unlinked?: ((repository: string) => void) | undefined
}

/** The retention policies, and who carries them out. */
export interface Retention {
  readonly policies: Policies
  readonly expiry: TagExpiry
  /** Told of manifests that are gone. */
  readonly pulls: Pick<PullTimes, 'pulledAtMs' | 'forget'>
}

/** What a collection saw and did, so far or in all. In a dry run "removed" is what would be. */
export interface Collected {
  readonly repositories: number
  /** Tags that no retention policy keeps. */
  readonly removedTags: number
  readonly manifests: number
  readonly removedManifests: number
  /** Blobs of repositories: one that two repositories hold counts twice. */
  readonly layers: number
  readonly removedLayers: number
  /** Contents in the store, of blobs and of manifests. */
  readonly blobs: number
  readonly removedBlobs: number
  readonly removedBytes: number
  /** Manifests that can not be read: while there are any, their repository keeps all its blobs. */
  readonly unreadable: readonly string[]
}

/** Unreadable manifests that are named; all are counted on by what is kept. */
const MOST_NAMED = 100

/**
 * One mark and sweep over all repositories, while clients push, mount and delete.
 *
 * 1. In each repository the tags that no policy keeps are removed, then the manifests that are not live, then the links
 *    of blobs that no manifest left names. What is left is marked.
 * 2. Contents in the store that were not marked are removed.
 *
 * Why nothing is lost that a client was told is there: whatever a client asks for, pushes, mounts or names in a manifest
 * is noted in `uses` before it is looked at, and what was used since `graceMs` before the start stays. A link is removed
 * in its repository's turn, so that no manifest that names it is being checked, and alone with its content, so that
 * nobody links to it; whoever was told meanwhile that it is there finds it there again. A content is removed alone too:
 * who links to it before has noted it, who links to it after finds it gone and stores it again.
 *
 * A crash leaves less removed: manifests go before what they need, links before contents.
 */
export class Collection {
  readonly #options: CollectionOptions
  readonly #dependencies: CollectionDependencies
  readonly #manifests: ManifestStore
  readonly #marked = new DigestSet()
  readonly #seen = {
    repositories: 0,
    removedTags: 0,
    manifests: 0,
    removedManifests: 0,
    layers: 0,
    removedLayers: 0,
    blobs: 0,
    removedBlobs: 0,
    removedBytes: 0,
  }
  readonly #unreadable: string[] = []
  #sinceMs = 0

  constructor(options: CollectionOptions, dependencies: CollectionDependencies) {
    this.#options = options
    this.#dependencies = dependencies
    this.#manifests = new ManifestStore(dependencies.driver, dependencies.uses)
  }

  get collected(): Collected {
    return { ...this.#seen, unreadable: [...this.#unreadable] }
  }

  /** Can be run once. Rejects with the signal's reason, or with what the storage throws: then nothing half is left. */
  async run(signal: AbortSignal): Promise<Collected> {
    this.#sinceMs = this.#dependencies.now() - this.#options.graceMs
    for await (const name of foldersWithContent(this.#dependencies.driver)) {
      signal.throwIfAborted()
      await this.#collectRepository(name, signal)
      this.#seen.repositories++
    }
    await this.#sweep(signal)
    return this.collected
  }

  async #collectRepository(repository: string, signal: AbortSignal): Promise<void> {
    const { retention } = this.#dependencies
    const policy = retention?.policies.of(repository)
    const expired = await this.#expireTags(repository, policy)
    const tagged = await this.#taggedManifests(repository, expired)
    const manifests = new Map<string, References>()
    const named = new Set<string>()
    let isUnreadable = !isRepositoryName(repository)
    for (const digest of await this.#manifests.revisions(repository)) {
      signal.throwIfAborted()
      // A crash between two files, or a deletion, leaves what nobody sees.
      if (!(await this.#manifests.links(repository, digest))) continue
      const references = await this.#referencesOf(digest)
      if (references !== undefined) {
        manifests.set(formatDigest(digest), references)
        continue
      }
      isUnreadable = true
      this.#marked.add(digest)
      if (this.#unreadable.length < MOST_NAMED) this.#unreadable.push(`${repository}@${formatDigest(digest)}`)
    }
    this.#seen.manifests += manifests.size
    const isKept = isUnreadable || (policy?.untagged ?? this.#options.untagged) === 'keep'
    const removed = isKept
      ? new Set<string>()
      : await this.#removeManifests(repository, manifests, { tagged, policy }, signal)
    for (const [digest, { blobs }] of manifests) {
      if (removed.has(digest)) continue
      this.#marked.add(parseDigest(digest))
      for (const blob of blobs) named.add(blob)
    }
    await this.#collectLayers(repository, isUnreadable ? undefined : named, signal)
  }

  #referencesOf(digest: Digest): Promise<References | undefined> {
    const { driver, references } = this.#dependencies
    return references === undefined ? readReferences(driver, digest) : references(digest)
  }

  async #expireTags(repository: string, policy: RepositoryPolicy | undefined): Promise<ReadonlySet<string>> {
    const { retention, now } = this.#dependencies
    if (retention === undefined || policy === undefined || !policy.removesTags) return new Set()
    const options = { nowMs: now(), sinceMs: this.#sinceMs, isDryRun: this.#options.isDryRun }
    const expired = await retention.expiry.expire(repository, policy, options)
    this.#seen.removedTags += expired.size
    return expired
  }

  /** @param expired tags that are gone, or count as gone */
  async #taggedManifests(repository: string, expired: ReadonlySet<string>): Promise<Set<string>> {
    const tagged = new Set<string>()
    for (const tag of await this.#manifests.tags(repository, Number.POSITIVE_INFINITY)) {
      if (expired.has(tag)) continue
      const digest = await this.#manifests.resolve(repository, { tag })
      if (digest !== undefined) tagged.add(formatDigest(digest))
    }
    return tagged
  }

  async #removeManifests(
    repository: string,
    manifests: ReadonlyMap<string, References>,
    { tagged, policy }: { readonly tagged: ReadonlySet<string>; readonly policy: RepositoryPolicy | undefined },
    signal: AbortSignal,
  ): Promise<Set<string>> {
    const removed = new Set<string>()
    const liveness = new Liveness(manifests)
    for (const digest of tagged) liveness.keep(digest)
    for (const text of liveness.dead()) {
      const digest = parseDigest(text)
      if (await this.#isRecent(digest, revisionLinkPath(repository, digest))) liveness.keep(text)
      else if (await this.#isKeptUntagged(repository, digest, policy)) liveness.keep(text)
    }
    for (const text of liveness.dead()) {
      signal.throwIfAborted()
      // One that was found in use a moment ago keeps those that come after it.
      if (liveness.live.has(text)) continue
      const digest = parseDigest(text)
      if (await this.#removeLink(repository, digest, digest, revisionLinkPath(repository, digest))) removed.add(text)
      else liveness.keep(text)
    }
    this.#seen.removedManifests += removed.size
    if (this.#options.isDryRun || removed.size === 0) return removed
    await this.#removeTagHistory(repository, removed)
    for (const digest of removed) await this.#dependencies.retention?.pulls.forget(repository, digest)
    return removed
  }

  async #isKeptUntagged(repository: string, digest: Digest, policy: RepositoryPolicy | undefined): Promise<boolean> {
    const { driver, retention, now } = this.#dependencies
    const link = await driver.stat(revisionLinkPath(repository, digest))
    if (retention === undefined || policy === undefined || link === undefined) return false
    const pushedAtMs = link.modifiedAtMs
    const pulledAtMs = await retention.pulls.pulledAtMs(repository, formatDigest(digest), pushedAtMs)
    return policy.keepsUntagged({ pushedAtMs, pulledAtMs }, now())
  }

  /** Tags say which manifests they once pointed at. */
  async #removeTagHistory(repository: string, removed: ReadonlySet<string>): Promise<void> {
    const { driver, turns } = this.#dependencies
    for (const tag of await this.#manifests.tags(repository, Number.POSITIVE_INFINITY)) {
      const pointed = await listDigests(driver, (algorithm) => tagHistoryPath(repository, tag, algorithm))
      for (const digest of pointed) {
        if (!removed.has(formatDigest(digest))) continue
        await turns.take(repository, async (turn) => {
          if ((await this.#manifests.links(repository, digest)) || !turn.isMine) return
          await driver.remove(folderOf(tagIndexPath(repository, tag, digest)))
        })
      }
    }
  }

  /** @param named what the repository's manifests need; undefined when that is not known */
  async #collectLayers(repository: string, named: ReadonlySet<string> | undefined, signal: AbortSignal): Promise<void> {
    const { driver } = this.#dependencies
    const targets = new DigestSet()
    // Those of sha512 first: each is a second name of a blob that has a sha256.
    const digests = (await listDigests(driver, (algorithm) => layersPath(repository, algorithm))).reverse()
    for (const digest of digests) {
      signal.throwIfAborted()
      this.#seen.layers++
      const path = layerLinkPath(repository, digest)
      // A link of a sha256 points at itself.
      const target = digest.algorithm === 'sha256' ? digest : ((await readLink(driver, path)) ?? digest)
      const isNeeded = named === undefined || named.has(formatDigest(digest)) || targets.has(digest)
      if (
        !isNeeded &&
        !(await this.#isRecent(digest, path)) &&
        (await this.#removeLink(repository, digest, target, path))
      ) {
        this.#seen.removedLayers++
        this.#dependencies.unlinked?.(repository)
        continue
      }
      targets.add(target)
      this.#marked.add(digest)
      this.#marked.add(target)
    }
  }

  /** False when somebody uses it. */
  async #removeLink(repository: string, digest: Digest, target: Digest, path: string): Promise<boolean> {
    const { driver, turns, uses } = this.#dependencies
    const isUsed = () => uses.usedSince(digest, this.#sinceMs)
    return turns.take(repository, (turn) =>
      uses.alone(target, async (alone) => {
        if (await isUsed()) return false
        if (this.#options.isDryRun) return true
        if (!turn.isMine || !alone.isMine) return false
        await driver.remove(folderOf(path))
        if (!(await isUsed())) return true
        // Somebody asked meanwhile, and may have been told that it is there.
        await writeLink(driver, path, target)
        return false
      }),
    )
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    for await (const digest of storedContents(this.#dependencies.driver)) {
      signal.throwIfAborted()
      this.#seen.blobs++
      if (!this.#marked.has(digest)) await this.#removeContent(digest)
    }
  }

  async #removeContent(digest: Digest): Promise<void> {
    const { driver, uses } = this.#dependencies
    const path = blobPath(digest)
    await uses.alone(digest, async (turn) => {
      if (await this.#isRecent(digest, path)) return
      const stored = await driver.stat(path)
      if (!turn.isMine) return
      if (!this.#options.isDryRun) await driver.remove(folderOf(path))
      this.#seen.removedBlobs++
      this.#seen.removedBytes += stored?.sizeBytes ?? 0
    })
  }

  async #isRecent(digest: Digest, path: string): Promise<boolean> {
    const { driver, uses } = this.#dependencies
    if (await uses.usedSince(digest, this.#sinceMs)) return true
    const stored = await driver.stat(path)
    return stored !== undefined && stored.modifiedAtMs >= this.#sinceMs
  }
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}
