import { compileGlob, compileRegex, type Pattern } from '../patterns.ts'
import type { KeepRule, KeepUntagged, RetentionPolicy } from './options.ts'

const HOUR_MS = 3_600_000

/** What retention goes by. */
interface ContentFacts {
  /** Milliseconds since 1970. */
  readonly pushedAtMs: number
  /** When a client last pulled it, milliseconds since 1970; undefined when none did. */
  readonly pulledAtMs: number | undefined
}

/** A tag was pulled when what it points at was. */
export interface TagFacts extends ContentFacts {
  readonly tag: string
}

interface CompiledRule extends Omit<KeepRule, 'patterns'> {
  readonly patterns: readonly Pattern[]
}

interface CompiledPolicy {
  readonly repositories: readonly Pattern[]
  readonly keepTags: readonly CompiledRule[] | undefined
  readonly untagged: 'keep' | 'remove' | undefined
  readonly keepUntagged: KeepUntagged | undefined
}

/** What the policies say about one repository. */
export interface RepositoryPolicy {
  /** What becomes of untagged manifests; undefined when the policy does not say. */
  readonly untagged: 'keep' | 'remove' | undefined
  /** Whether there are tags to go: if not, nobody need look at them. */
  readonly removesTags: boolean
  /** The tags that are to go. @param nowMs milliseconds since 1970 */
  expired(tags: readonly TagFacts[], nowMs: number): string[]
  /** Whether an untagged manifest stays all the same. @param nowMs milliseconds since 1970 */
  keepsUntagged(manifest: ContentFacts, nowMs: number): boolean
}

/** The retention policies, checked. */
export class Policies {
  readonly #policies: readonly CompiledPolicy[]

  /** Throws CoreError `CONFIG_INVALID` when a pattern can not be used. */
  constructor(policies: readonly RetentionPolicy[]) {
    this.#policies = policies.map(({ repositories, keepTags, untagged, keepUntagged }, at) => ({
      repositories: repositories.map((glob) => compileGlob(glob, `retention.policies[${at}].repositories`)),
      keepTags: keepTags?.map((rule, of) => compile(rule, `retention.policies[${at}].keepTags[${of}]`)),
      untagged,
      keepUntagged,
    }))
  }

  get isEmpty(): boolean {
    return this.#policies.length === 0
  }

  /** Of the first policy that matches; undefined when none does. */
  of(repository: string): RepositoryPolicy | undefined {
    const found = this.#policies.find(({ repositories }) => repositories.some((glob) => glob.matches(repository)))
    if (found === undefined) return undefined
    const { untagged, keepTags, keepUntagged } = found
    return {
      untagged,
      removesTags: keepTags !== undefined,
      expired: (tags, nowMs) => {
        if (keepTags === undefined) return []
        const kept = new Set(keepTags.flatMap((rule) => keptBy(rule, tags, nowMs)))
        return tags.map(({ tag }) => tag).filter((tag) => !kept.has(tag))
      },
      keepsUntagged: ({ pushedAtMs, pulledAtMs }, nowMs) =>
        isWithin(keepUntagged?.pushedWithinHours, pushedAtMs, nowMs) ||
        isWithin(keepUntagged?.pulledWithinHours, pulledAtMs, nowMs),
    }
  }
}

function compile({ patterns = [], ...conditions }: KeepRule, where: string): CompiledRule {
  return { ...conditions, patterns: patterns.map((pattern) => compileRegex(pattern, where)) }
}

function keptBy(rule: CompiledRule, tags: readonly TagFacts[], nowMs: number): string[] {
  const { patterns, mostRecentlyPushedCount, mostRecentlyPulledCount, pushedWithinHours, pulledWithinHours } = rule
  const matching = patterns.length === 0 ? tags : tags.filter(({ tag }) => patterns.some((each) => each.matches(tag)))
  const pulledAt = ({ pulledAtMs = Number.NEGATIVE_INFINITY }: TagFacts) => pulledAtMs
  const pushedAt = ({ pushedAtMs }: TagFacts) => pushedAtMs
  const kept: (readonly TagFacts[])[] = []
  if (mostRecentlyPushedCount !== undefined) kept.push(latest(matching, mostRecentlyPushedCount, pushedAt, pushedAt))
  if (mostRecentlyPulledCount !== undefined) {
    const pulled = matching.filter(({ pulledAtMs }) => pulledAtMs !== undefined)
    kept.push(latest(pulled, mostRecentlyPulledCount, pulledAt, pushedAt))
  }
  if (pushedWithinHours !== undefined) {
    kept.push(matching.filter((tag) => isWithin(pushedWithinHours, tag.pushedAtMs, nowMs)))
  }
  if (pulledWithinHours !== undefined) {
    kept.push(matching.filter((tag) => isWithin(pulledWithinHours, tag.pulledAtMs, nowMs)))
  }
  return (kept.length === 0 ? matching : kept.flat()).map(({ tag }) => tag)
}

/** The `count` tags with the latest time; of those with the same one, by the second time, then the name. */
function latest(
  tags: readonly TagFacts[],
  count: number,
  first: (tag: TagFacts) => number,
  second: (tag: TagFacts) => number,
): readonly TagFacts[] {
  const later = (a: TagFacts, b: TagFacts) =>
    compare(first(b), first(a)) || compare(second(b), second(a)) || compare(b.tag, a.tag)
  return [...tags].sort(later).slice(0, count)
}

function isWithin(hours: number | undefined, atMs: number | undefined, nowMs: number): boolean {
  return hours !== undefined && atMs !== undefined && atMs >= nowMs - hours * HOUR_MS
}

function compare<T extends number | string>(a: T, b: T): number {
  return a < b ? -1 : Number(a > b)
}
