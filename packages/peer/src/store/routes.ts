import type { FastifyInstance } from 'fastify'
import type { Scrubber } from './scrubber.ts'

/** The store's part of the node's admin API. */
export function addStoreRoutes(server: FastifyInstance, scrubber: Scrubber): void {
  server.get('/api/v1/scrub', async () => scrubber.status)
  server.post('/api/v1/scrub', async (_request, reply) => {
    if (scrubber.begin()) return reply.code(202).send(scrubber.status)
    return reply.code(409).send({ message: 'a scrub is running: GET /api/v1/scrub shows how far it is' })
  })
}
