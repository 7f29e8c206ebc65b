import type { OriginClient } from '@shoal/origin'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { failure } from './failure.ts'
import type { MirrorTarget } from './path.ts'
import { clientGone, sendFailure } from './reply.ts'
import type { Upstream } from './upstream.ts'

/** A list, and whose. */
interface ListRequest {
  readonly target: Extract<MirrorTarget, { kind: 'tags' | 'referrers' }>
  readonly upstream: Upstream
  /** As the client named the registry; undefined: it did not. */
  readonly ns: string | undefined
}

/** Answers with a page of a list as its registry gives it. Throws OriginError. */
export async function serveList(
  origin: Pick<OriginClient, 'listTags' | 'getReferrers'>,
  { target, upstream, ns }: ListRequest,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const [path = '', ...rest] = request.url.split('?')
  const query = rest.join('?')
  const n = new URLSearchParams(query).get('n')
  if (target.kind === 'tags' && n !== null && !/^[0-9]{0,9}$/.test(n)) {
    return sendFailure(reply, failure('PAGINATION_NUMBER_INVALID', 'n must be a whole number'))
  }
  const call = { ...upstream, query, authorization: request.headers.authorization, signal: clientGone(reply) }
  const list = await (target.kind === 'tags'
    ? origin.listTags(call)
    : origin.getReferrers({ ...call, digest: target.digest }))
  // The next page is asked of us, for the registry that was meant, in its own words.
  const named = ns === undefined ? '' : `&${new URLSearchParams({ ns })}`
  if (list.next !== undefined) reply.header('link', `<${path}?${list.next}${named}>; rel="next"`)
  if (list.filtersApplied !== undefined) reply.header('oci-filters-applied', list.filtersApplied)
  return reply.type(list.mediaType ?? 'application/json').send(list.bytes)
}
