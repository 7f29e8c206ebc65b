import type { FastifyInstance } from 'fastify'
import type { ListingIndex } from './listing-index.ts'

/** Adds the route by which operators say that the storage was changed behind the registry's back. */
export function addIndexRoutes(server: FastifyInstance, index: Pick<ListingIndex, 'forgetAll'>): void {
  server.delete('/api/v1/index', async (_, reply) => {
    index.forgetAll()
    return reply.code(204).send()
  })
}
