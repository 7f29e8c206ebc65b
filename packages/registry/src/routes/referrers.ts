import { type Descriptor, formatDigest, MAX_MANIFEST_BYTES, MEDIA_TYPES } from '@shoal/core'
import type { FastifyReply } from 'fastify'
import type { Listings } from '../listings/listings.ts'
import type { Handlers } from './exchange.ts'
import { nextPageLink } from './pages.ts'

/** Room for descriptors in one answer: clients bound an index as they bound a manifest. */
const PAGE_BYTES = MAX_MANIFEST_BYTES - 64 * 1024

/** `/v2/<name>/referrers/<digest>`. Source: OCI distribution-spec 1.1, "Listing Referrers". */
export function referrerRoutes(listings: Pick<Listings, 'referrers'>): Handlers<'referrers'> {
  return {
    GET: async ({ query, reply }, { repository, digest }) => {
      const artifactType = query.get('artifactType')
      const referrers = listings.referrers(repository, digest, query.get('last') ?? '')
      const { manifests, isLast } = await firstPage(referrers, artifactType)
      if (artifactType !== null) reply.header('oci-filters-applied', 'artifactType')
      if (!isLast) {
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
async function firstPage(
  descriptors: AsyncIterable<Descriptor>,
  artifactType: string | null,
): Promise<{ readonly manifests: Descriptor[]; readonly isLast: boolean }> {
  const manifests: Descriptor[] = []
  let bytes = 0
  for await (const descriptor of descriptors) {
    if (artifactType !== null && descriptor.artifactType !== artifactType) continue
    bytes += Buffer.byteLength(JSON.stringify(descriptor)) + 1
    if (bytes > PAGE_BYTES && manifests.length > 0) return { manifests, isLast: false }
    manifests.push(descriptor)
  }
  return { manifests, isLast: true }
}
