import { type Descriptor, formatDigest, MAX_MANIFEST_BYTES, MEDIA_TYPES } from '@shoal/core'
import type { FastifyReply } from 'fastify'
import type { Referrers } from '../referrers.ts'
import type { Handlers } from './exchange.ts'
import { nextPageLink } from './pages.ts'

/** Room for descriptors in one answer: clients bound an index as they bound a manifest. */
const PAGE_BYTES = MAX_MANIFEST_BYTES - 64 * 1024

/** `/v2/<name>/referrers/<digest>`. Source: OCI distribution-spec 1.1, "Listing Referrers". */
export function referrerRoutes(referrers: Referrers): Handlers<'referrers'> {
  return {
    GET: async ({ query, reply }, { repository, digest }) => {
      const artifactType = query.get('artifactType')
      const last = query.get('last') ?? ''
      const matching = (await referrers.of(repository, digest)).filter(
        (each) => each.digest > last && (artifactType === null || each.artifactType === artifactType),
      )
      const manifests = firstPage(matching)
      if (artifactType !== null) reply.header('oci-filters-applied', 'artifactType')
      if (manifests.length < matching.length) {
        const next = { last: manifests.at(-1)?.digest ?? '', ...(artifactType === null ? {} : { artifactType }) }
        reply.header('link', nextPageLink(`/v2/${repository}/referrers/${formatDigest(digest)}`, next))
      }
      return sendIndex(reply, manifests)
    },
  }
}

/** Answers with an index of descriptors. */
export function sendIndex(reply: FastifyReply, manifests: readonly unknown[]): FastifyReply {
  // As bytes: to text of a JSON type fastify adds a charset, and clients compare the type whole.
  const index = JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests })
  return reply.type(MEDIA_TYPES.ociIndex).send(Buffer.from(index))
}

/** As many as fit; at least one, so that a client that follows links comes to the end. */
function firstPage(descriptors: readonly Descriptor[]): Descriptor[] {
  const page: Descriptor[] = []
  let bytes = 0
  for (const descriptor of descriptors) {
    bytes += Buffer.byteLength(JSON.stringify(descriptor)) + 1
    if (bytes > PAGE_BYTES && page.length > 0) break
    page.push(descriptor)
  }
  return page
}
