import { type Digest, formatDigest, tryParseDigest } from '@shoal/core'
import type { StorageDriver } from '../storage/driver.ts'
import type { ManifestStore } from '../storage/manifests.ts'
import { tagCurrentPath } from '../storage/paths.ts'
import type { Turns } from '../storage/turns.ts'
import type { RepositoryPolicy, TagFacts } from './policies.ts'
import type { PullTimes } from './pull-times.ts'

interface ExpiryDependencies {
  readonly driver: StorageDriver
  readonly manifests: ManifestStore
  readonly turns: Pick<Turns, 'take'>
  readonly pulls: Pick<PullTimes, 'pulledAtMs'>
  /** Told of each tag that was removed. */
  readonly removed: (repository: string, tag: string) => Promise<void>
}

interface ExpiryOptions {
  /** Milliseconds since 1970. */
  readonly nowMs: number
  /** Tags that were pushed then or later stay, whatever a policy says; milliseconds since 1970. */
  readonly sinceMs: number
  readonly isDryRun: boolean
}

interface TagState extends TagFacts {
  readonly digest: Digest
}

/** Tags by which signatures and fallback lists of referrers are found: they belong to the manifest they name. */
const ATTACHED = /^(sha256|sha512)-([0-9a-f]{64,128})(?:\.[a-z0-9-]+)?$/

/**
 * Removes the tags that policies do not keep. Policies do not judge tags that belong to a manifest (`sha256-<hex>`, with or
 * without `.sig` and the like): these stay as long as it does.
 */
export class TagExpiry {
  readonly #dependencies: ExpiryDependencies

  constructor(dependencies: ExpiryDependencies) {
    this.#dependencies = dependencies
  }

  /** Removes what `policy` does not keep in a repository, and returns it; in a dry run what it would remove. */
  async expire(repository: string, policy: RepositoryPolicy, options: ExpiryOptions): Promise<ReadonlySet<string>> {
    const { manifests } = this.#dependencies
    const states = new Map<string, TagState>()
    const judged: TagState[] = []
    const expired: string[] = []
    for (const tag of await manifests.tags(repository, Number.POSITIVE_INFINITY)) {
      const state = await this.#stateOf(repository, tag)
      if (state === undefined) continue
      states.set(tag, state)
      const subject = subjectOf(tag)
      if (subject === undefined) judged.push(state)
      else if (!(await manifests.links(repository, subject))) expired.push(tag)
    }
    const removed = new Set<string>()
    for (const tag of [...policy.expired(judged, options.nowMs), ...expired]) {
      const state = states.get(tag)
      if (state !== undefined && (await this.#remove(repository, state, options))) removed.add(tag)
    }
    return removed
  }

  /** False when it is too young, or was pushed again meanwhile. */
  #remove(repository: string, state: TagState, { sinceMs, isDryRun }: ExpiryOptions): Promise<boolean> {
    const { manifests, turns, removed } = this.#dependencies
    return turns.take(repository, async () => {
      const now = await this.#stateOf(repository, state.tag)
      const isSame = now?.pushedAtMs === state.pushedAtMs && formatDigest(now.digest) === formatDigest(state.digest)
      if (!isSame || state.pushedAtMs >= sinceMs) return false
      if (isDryRun) return true
      await manifests.untag(repository, state.tag)
      await removed(repository, state.tag)
      return true
    })
  }

  async #stateOf(repository: string, tag: string): Promise<TagState | undefined> {
    const { driver, manifests, pulls } = this.#dependencies
    const digest = await manifests.resolve(repository, { tag })
    const link = await driver.stat(tagCurrentPath(repository, tag))
    if (digest === undefined || link === undefined) return undefined
    const pushedAtMs = link.modifiedAtMs
    return { tag, digest, pushedAtMs, pulledAtMs: await pulls.pulledAtMs(repository, formatDigest(digest), pushedAtMs) }
  }
}

function subjectOf(tag: string): Digest | undefined {
  const [, algorithm, hex] = ATTACHED.exec(tag) ?? []
  return tryParseDigest(`${algorithm}:${hex}`)
}
