import type { FastifyInstance } from 'fastify'
import type { GarbageCollector } from './garbage-collector.ts'

/** Adds the routes by which operators begin a collection and look at it. */
export function addGcRoutes(server: FastifyInstance, collector: GarbageCollector): void {
  server.get('/api/v1/gc', async () => ({ last: collector.last ?? null }))

  server.post<{ Querystring: { dryRun?: string } }>('/api/v1/gc', async ({ query: { dryRun = 'false' } }, reply) => {
    if (dryRun !== 'true' && dryRun !== 'false') {
      return reply.code(400).send({ message: 'dryRun must be true or false' })
    }
    if (!(await collector.begin(dryRun === 'true'))) {
      return reply.code(409).send({ message: 'a collection runs already: GET /api/v1/gc shows it' })
    }
    return reply.code(202).send({ last: collector.last })
  })
}
