import { formatDigest } from '@shoal/core'
import { isOriginAway } from '@shoal/origin'
import { RegistryError } from '../errors.ts'
import { upstreamError } from '../proxy/failure.ts'
import type { PullThrough } from '../proxy/pull-through.ts'
import type { UpstreamRepository } from '../proxy/upstreams.ts'
import type { Exchange, Handler, RouteTable } from './exchange.ts'
import { nextPageLink, parsePage } from './pages.ts'
import type { Route } from './path.ts'
import { sendIndex } from './referrers.ts'
import { TAG_PAGES } from './tags.ts'

/** Methods that push nothing. What is kept of others may be deleted. */
const NO_PUSH: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE'])
const MAX_WARNING_LENGTH = 1024

/**
 * What a request is about, its repository called as it is here.
 * @throws RegistryError `DENIED` when it would change what is another registry's
 */
export async function locate({ upstreams, manifests }: PullThrough, exchange: Exchange, route: Route): Promise<Route> {
  if (!('repository' in route)) return route
  const { request, reply, query } = exchange
  const isPush = !NO_PUSH.has(request.method)
  const [ns, ...others] = query.getAll('ns')
  if (others.some((other) => other !== ns)) {
    throw new RegistryError('NAME_INVALID', 'ns names several registries: write it once')
  }
  const asked = { repository: route.repository, ns, host: request.host }
  // A push makes a repository of ours.
  const repository = await upstreams.nameOf(asked, async (name) => isPush || manifests.knows(name))
  const upstream = upstreams.of(repository)
  if (upstream === undefined) return { ...route, repository }
  if (isPush) {
    throw new RegistryError(
      'DENIED',
      `${repository} is kept here for ${upstream.registry}: push to ${upstream.registry}/${upstream.repository}`,
    )
  }
  reply.header('oci-namespace', upstream.registry)
  return { ...route, repository }
}

/** Routes that answer for upstreams too. @param own those that answer for what is here */
export function proxiedRoutes(own: RouteTable, { upstreams, manifests, lists }: PullThrough): RouteTable {
  const freshened =
    (handle: Handler<'manifest'> | undefined): Handler<'manifest'> =>
    async (exchange, route) => {
      const { repository, reference } = route
      const staleness = reference && (await manifests.freshen(repository, reference))
      if (staleness !== undefined) warn(exchange, staleness)
      const reply = (await handle?.(exchange, route)) ?? exchange.reply
      if (exchange.request.method === 'GET' && reply.statusCode === 200 && upstreams.of(repository) !== undefined) {
        manifests.sent(Number(reply.getHeader('content-length')))
      }
      return reply
    }

  /** A list as the upstream gives it; while it can not be asked, that of what is here. */
  const listed =
    <K extends 'tags' | 'referrers'>(
      ours: Handler<K> | undefined,
      theirs: (
        exchange: Exchange,
        route: Extract<Route, { kind: K }>,
        upstream: UpstreamRepository,
      ) => ReturnType<Handler<K>>,
    ): Handler<K> =>
    async (exchange, route) => {
      // Both kinds have one, which TypeScript can not see through their union.
      const upstream = upstreams.of((route as { readonly repository: string }).repository)
      try {
        if (upstream !== undefined) return await theirs(exchange, route, upstream)
      } catch (error) {
        if (!isOriginAway(error)) throw upstreamError(error, 'NAME_UNKNOWN')
        warn(exchange, error.message)
      }
      return ours?.(exchange, route) ?? exchange.reply
    }

  const tags = listed(own.tags.GET, async ({ query, reply }, { repository }, upstream) => {
    const page = parsePage(query, TAG_PAGES)
    const { tags, next } = await lists.tags(upstream, page)
    if (next !== undefined) {
      const parameters = { n: String(page.limit), last: next }
      reply.header('link', nextPageLink(`/v2/${repository}/tags/list`, parameters))
    }
    return reply.send({ name: repository, tags })
  })

  const referrers = listed(own.referrers.GET, async (exchange, { repository, digest }, upstream) => {
    const { query, reply } = exchange
    const asked = exchange.request.url.split('?').slice(1).join('?')
    const { manifests, next } = await lists.referrers(upstream, formatDigest(digest), asked)
    if (query.has('artifactType')) reply.header('oci-filters-applied', 'artifactType')
    // Registries have words of their own for pages, which are the client's to give back.
    const path = `/v2/${repository}/referrers/${formatDigest(digest)}`
    if (next !== undefined) reply.header('link', `<${path}?${next}>; rel="next"`)
    return sendIndex(reply, manifests)
  })

  const manifest = { ...own.manifest, GET: freshened(own.manifest.GET), HEAD: freshened(own.manifest.HEAD) }
  return { ...own, manifest, tags: { GET: tags }, referrers: { GET: referrers } }
}

/** Tells a client that what it gets may be old, and why. Source: OCI distribution-spec 1.1, "Warnings". */
function warn({ reply }: Exchange, why: string): void {
  const text = `this is what is kept here and may be old: ${why}`
  // Header values are printable ASCII, and this one is a quoted string.
  const quoted = text.replace(/[^\x20-\x7e]|["\\]/g, '?').slice(0, MAX_WARNING_LENGTH)
  reply.header('warning', `299 - "${quoted}"`)
}
