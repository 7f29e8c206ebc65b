import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Notifications } from './notifications.ts'

const PAGE = 100
const ID = /^[0-9]{16}$/

interface DeadParameters {
  readonly endpoint: string
  readonly id: string
}

/** Adds the routes by which operators look at the queues, and retry or drop dead events. */
export function addNotificationRoutes(server: FastifyInstance, { endpoints, db }: Notifications): void {
  const unknown = (reply: FastifyReply, what: string) => reply.code(404).send({ message: `there is no ${what}` })

  server.get('/api/v1/notifications', async () => ({ endpoints: [...endpoints.values()].map(({ view }) => view) }))

  server.get<{ Params: { endpoint: string }; Querystring: { after?: string } }>(
    '/api/v1/notifications/:endpoint/dead',
    async ({ params, query }, reply) => {
      const { after = '' } = query
      if (!endpoints.has(params.endpoint)) return unknown(reply, 'such endpoint')
      if (after !== '' && !ID.test(after)) return reply.code(400).send({ message: 'after must be the id of an event' })
      const found = await db.list('dead', params.endpoint, after, PAGE)
      return { dead: found.map(([id, event]) => ({ id, ...event })) }
    },
  )

  server.post<{ Params: DeadParameters }>(
    '/api/v1/notifications/:endpoint/dead/:id/retry',
    async ({ params: { endpoint, id } }, reply) => {
      const isDone = ID.test(id) && (await endpoints.get(endpoint)?.retry(id))
      return isDone === true ? reply.code(202).send({ id }) : unknown(reply, 'such dead event')
    },
  )

  server.delete<{ Params: DeadParameters }>(
    '/api/v1/notifications/:endpoint/dead/:id',
    async ({ params: { endpoint, id } }, reply) => {
      const isDone = ID.test(id) && (await endpoints.get(endpoint)?.drop(id))
      return isDone === true ? reply.code(204).send() : unknown(reply, 'such dead event')
    },
  )
}
