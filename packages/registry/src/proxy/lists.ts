import { isTag } from '@shoal/core'
import type { ListReply, OriginClient } from '@shoal/origin'
import { RegistryError } from '../errors.ts'
import type { UpstreamRepository } from './upstreams.ts'

/** A page of a list, and the entry after which the next one begins; undefined when it is the last. */
interface TagPage {
  readonly tags: string[]
  readonly next: string | undefined
}

/** A page of descriptors, and what asks for the next one; undefined when it is the last. */
interface ReferrerPage {
  readonly manifests: unknown[]
  readonly next: URLSearchParams | undefined
}

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
    const listed = await this.#client.listTags({ ...upstream, n: limit, last, signal: this.#signal })
    const { tags } = parsed(listed, upstream)
    // An empty list is null to some.
    if (!Array.isArray(tags) && tags !== null) throw unreadable(upstream)
    const all = (tags ?? []).filter((tag): tag is string => typeof tag === 'string' && isTag(tag))
    const ignoresPages = all.length > limit || (last !== undefined && all.includes(last))
    // Those who know no pages may know no order either.
    const rest = ignoresPages ? all.filter((tag) => last === undefined || tag > last).sort() : all
    const page = rest.slice(0, limit)
    const isCut = rest.length > page.length
    const hasNext = page.length > 0 && (isCut || listed.link !== undefined)
    return {
      tags: page,
      next: hasNext ? ((isCut ? undefined : queryOf(listed.link)?.get('last')) ?? page.at(-1)) : undefined,
    }
  }

  /** A page of descriptors, as they came. @param query `artifactType`, and what `next` of the page before says */
  async referrers(upstream: UpstreamRepository, digest: string, query: URLSearchParams): Promise<ReferrerPage> {
    const listed = await this.#client.getReferrers({ ...upstream, digest, query, signal: this.#signal })
    const { manifests } = parsed(listed, upstream)
    if (!Array.isArray(manifests)) throw unreadable(upstream)
    const artifactType = query.get('artifactType')
    return {
      manifests: manifests.filter((each) => artifactType === null || each?.artifactType === artifactType),
      next: queryOf(listed.link),
    }
  }
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

/** What asks for the upstream's next page; undefined when it says of none. */
function queryOf(link: string | undefined): URLSearchParams | undefined {
  const [, url] = /^\s*<([^>]{1,2048})>/.exec(link ?? '') ?? []
  if (url === undefined || !URL.canParse(url, 'http://upstream')) return undefined
  return new URL(url, 'http://upstream').searchParams
}
