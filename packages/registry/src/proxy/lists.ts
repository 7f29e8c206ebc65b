import { formatDigest, isTag, MEDIA_TYPES } from '@shoal/core'
import type { ListReply, OriginClient } from '@shoal/origin'
import { RegistryError } from '../errors.ts'
import type { Exchange, Handlers } from '../routes/exchange.ts'
import { nextPageLink, parsePage } from '../routes/pages.ts'
import { TAG_PAGES } from '../routes/tags.ts'
import { isAway, upstreamError } from './failure.ts'
import type { UpstreamRepository, Upstreams } from './upstreams.ts'
import { warn } from './warning.ts'

interface ListDependencies {
  readonly upstreams: Upstreams
  readonly client: OriginClient
  readonly signal: AbortSignal
}

/** Tags as the upstream lists them; while it can not be asked, those that are here. @param own lists what is here */
export function proxiedTags(own: Handlers<'tags'>, { upstreams, client, signal }: ListDependencies): Handlers<'tags'> {
  const list = async ({ query, reply }: Exchange, repository: string, upstream: UpstreamRepository) => {
    const { limit, last } = parsePage(query, TAG_PAGES)
    const listed = await client.listTags({ ...upstream, n: limit, last, signal })
    const { tags } = parsed(listed, upstream)
    if (!Array.isArray(tags)) throw unreadable(upstream)
    const page = tags.filter((tag): tag is string => typeof tag === 'string' && isTag(tag))
    const next = lastOf(listed.link) ?? page.at(-1)
    if (listed.link !== undefined && next !== undefined) {
      reply.header('link', nextPageLink(`/v2/${repository}/tags/list`, { n: String(limit), last: next }))
    }
    return reply.send({ name: repository, tags: page })
  }
  return {
    GET: async (exchange, route) => {
      const upstream = upstreams.of(route.repository)
      const ours = () => own.GET?.(exchange, route) ?? exchange.reply
      if (upstream === undefined) return ours()
      return orOurs(exchange, () => list(exchange, route.repository, upstream), ours)
    },
  }
}

/** Referrers as the upstream lists them; while it can not be asked, those that are here. @param own lists what is here */
export function proxiedReferrers(
  own: Handlers<'referrers'>,
  { upstreams, client, signal }: ListDependencies,
): Handlers<'referrers'> {
  const list = async ({ query, reply }: Exchange, digest: string, upstream: UpstreamRepository) => {
    const artifactType = query.get('artifactType') ?? undefined
    const { manifests } = parsed(await client.getReferrers({ ...upstream, digest, artifactType, signal }), upstream)
    if (!Array.isArray(manifests)) throw unreadable(upstream)
    const wanted = manifests.filter((each) => artifactType === undefined || each?.artifactType === artifactType)
    if (artifactType !== undefined) reply.header('oci-filters-applied', 'artifactType')
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: wanted }
    return reply.type(MEDIA_TYPES.ociIndex).send(Buffer.from(JSON.stringify(index)))
  }
  return {
    GET: async (exchange, route) => {
      const upstream = upstreams.of(route.repository)
      const ours = () => own.GET?.(exchange, route) ?? exchange.reply
      if (upstream === undefined) return ours()
      return orOurs(exchange, () => list(exchange, formatDigest(route.digest), upstream), ours)
    },
  }
}

async function orOurs<T>(exchange: Exchange, theirs: () => Promise<T>, ours: () => T | Promise<T>): Promise<T> {
  try {
    return await theirs()
  } catch (error) {
    if (!isAway(error)) throw upstreamError(error, 'NAME_UNKNOWN')
    warn(exchange, error.message)
    return ours()
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

/** Where the upstream's next page begins; undefined when it does not say in the specification's way. */
function lastOf(link: string | undefined): string | undefined {
  const [, url] = /^\s*<([^>]{1,2048})>/.exec(link ?? '') ?? []
  if (url === undefined || !URL.canParse(url, 'http://upstream')) return undefined
  return new URL(url, 'http://upstream').searchParams.get('last') ?? undefined
}
