import { isTag } from '@shoal/core'
import type { ListReply, OriginClient } from '@shoal/origin'
import { RegistryError } from '../errors.ts'
import type { UpstreamRepository } from './upstreams.ts'

/** A page of a list, and the entry after which the next one begins; undefined when it is the last. */
interface TagPage {
  readonly tags: string[]
  readonly next: string | undefined
}

/** A page of descriptors, and the query that asks for the next one; undefined when it is the last. */
interface ReferrerPage {
  readonly manifests: unknown[]
  readonly next: string | undefined
}

/** Pages of a list whose registry has words of its own for them. */
const MAX_PAGES = 1000
const MAX_TAGS = 200_000

/** Lists as upstreams give them. Calls throw OriginError, or RegistryError `UNAVAILABLE` for what can not be read. */
export class UpstreamLists {
  readonly #client: OriginClient
  readonly #signal: AbortSignal

  constructor(client: OriginClient, signal: AbortSignal) {
    this.#client = client
    this.#signal = signal
  }

  /** At most `limit` tags, all after `last`. Registries before the specification 1.0 give all tags whatever is asked. */
  async tags(
    upstream: UpstreamRepository,
    { limit, last }: { readonly limit: number; readonly last: string | undefined },
  ): Promise<TagPage> {
    const query = new URLSearchParams({ n: String(limit), ...(last === undefined ? {} : { last }) })
    const first = await this.#tagPage(upstream, query.toString())
    const theirLast = new URLSearchParams(first.next).get('last')
    const hasOwnWords = first.next !== undefined && theirLast === null
    const all = hasOwnWords ? await this.#allTags(upstream, last === undefined ? first : undefined) : first.tags
    const ignoresPages = hasOwnWords || all.length > limit || (last !== undefined && all.includes(last))
    // Those who know no pages may know no order either.
    const rest = ignoresPages ? all.filter((tag) => last === undefined || tag > last).sort() : all
    const page = rest.slice(0, limit)
    const isCut = rest.length > page.length
    const hasNext = page.length > 0 && (isCut || (first.next !== undefined && !hasOwnWords))
    return { tags: page, next: hasNext ? ((isCut ? undefined : theirLast) ?? page.at(-1)) : undefined }
  }

  /** A page of descriptors, as they came. @param query `artifactType`, and what `next` of the page before says */
  async referrers(upstream: UpstreamRepository, digest: string, query: string): Promise<ReferrerPage> {
    const listed = await this.#client.getReferrers({ ...upstream, digest, query, signal: this.#signal })
    const { manifests } = parsed(listed, upstream)
    const artifactType = new URLSearchParams(query).get('artifactType')
    return {
      manifests: listIn(manifests, upstream).filter(
        (each) => artifactType === null || (each as Record<string, unknown> | null)?.artifactType === artifactType,
      ),
      next: listed.next,
    }
  }

  /** All tags of a registry whose pages are not known by their last tag: its links are followed from the first on. */
  async #allTags(upstream: UpstreamRepository, first: UpstreamPage | undefined): Promise<string[]> {
    const tags = new Set<string>()
    const asked = new Set<string>()
    for (let page = first ?? (await this.#tagPage(upstream, '')); ; page = await this.#tagPage(upstream, page.next)) {
      for (const tag of page.tags) tags.add(tag)
      if (page.next === undefined || asked.has(page.next)) return [...tags]
      asked.add(page.next)
      if (asked.size > MAX_PAGES || tags.size > MAX_TAGS) throw unreadable(upstream)
    }
  }

  async #tagPage(upstream: UpstreamRepository, query: string): Promise<UpstreamPage> {
    const listed = await this.#client.listTags({ ...upstream, query, signal: this.#signal })
    const tags = listIn(parsed(listed, upstream).tags, upstream)
    return { tags: tags.filter((tag): tag is string => typeof tag === 'string' && isTag(tag)), next: listed.next }
  }
}

/** A page as an upstream gives it. */
interface UpstreamPage {
  readonly tags: string[]
  /** The query that asks for the next one. */
  readonly next: string | undefined
}

/** An empty list is null to some, or left out. */
function listIn(value: unknown, upstream: UpstreamRepository): unknown[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw unreadable(upstream)
  return value
}

function parsed({ bytes }: ListReply, upstream: UpstreamRepository): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(bytes.toString())
    if (typeof json === 'object' && json !== null) return json as Record<string, unknown>
  } catch {
    // Told below.
  }
  throw unreadable(upstream)
}

function unreadable({ registry, repository }: UpstreamRepository): RegistryError {
  return new RegistryError('UNAVAILABLE', `${repository} at ${registry}: the upstream's list can not be read`)
}
