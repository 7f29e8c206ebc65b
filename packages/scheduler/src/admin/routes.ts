import { isDigest } from '@shoal/core'
import type { FastifyInstance } from 'fastify'
import type { Coordinator } from '../coordination/coordinator.ts'
import { nodeView, swarmNodesView, swarmView, zonesView } from './views.ts'

/** The scheduler's own routes on its admin server: what it knows, for people and scripts to look at. */
export function adminRoutes(server: FastifyInstance, coordinator: Coordinator): void {
  const { core } = coordinator

  server.get('/api/v1/nodes', async () => ({
    nodes: [...coordinator.sessions].map((session) => nodeView(coordinator, session)),
  }))

  server.get('/api/v1/swarms', async () => {
    const swarms = []
    for (const swarm of core.swarms.values()) {
      const blob = core.blobs.find(swarm.digest, swarm.layout.size)
      if (blob !== undefined) swarms.push(swarmView(coordinator, blob, swarm))
    }
    return { swarms }
  })

  server.get('/api/v1/zones', async () => ({ zones: zonesView(coordinator) }))

  server.get<{ Params: { digest: string } }>('/api/v1/swarms/:digest', async (request, reply) => {
    const { digest } = request.params
    if (!isDigest(digest)) {
      return reply.code(400).send({ message: 'write the digest as sha256: and 64 lower-case hex characters' })
    }
    const [blob] = core.blobs.of(digest)
    if (blob === undefined) return reply.code(404).send({ message: `no connected node holds or wants ${digest}` })
    const { swarm } = blob
    if (swarm !== undefined) {
      return { ...swarmView(coordinator, blob, swarm), members: swarmNodesView(coordinator, swarm) }
    }
    return { digest, size: blob.sizeBytes, waiting: 0, complete: blob.holders.size }
  })

  server.setErrorHandler(async (error: { statusCode?: number; message: string }, _request, reply) => {
    const code = error.statusCode ?? 500
    return reply.code(code).send({ message: code < 500 ? error.message : 'the request failed inside the scheduler' })
  })
  server.setNotFoundHandler(async (request, reply) =>
    reply.code(404).send({ message: `there is nothing at ${request.method} ${request.url.slice(0, 200)}` }),
  )
}
