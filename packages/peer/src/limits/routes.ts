import { CoreError } from '@shoal/core'
import type { FastifyInstance } from 'fastify'
import { Value } from 'typebox/value'
import type { NodeLimits } from './node-limits.ts'
import { type Limits, limitsOptions } from './options.ts'

/** The limits' part of the node's admin API: `PUT` replaces all three, until the node's next start. */
export function addLimitsRoutes(server: FastifyInstance, limits: NodeLimits): void {
  server.get('/api/v1/limits', async () => limits.current)
  server.put('/api/v1/limits', async (request, reply) => {
    // Not by the server's own validation: it would make numbers of strings and drop unknown keys.
    const { body } = request
    const [error] = Value.Errors(limitsOptions, body)
    if (error !== undefined) return reply.code(400).send({ message: messageOf(error) })
    try {
      limits.change(body as Limits)
    } catch (cause) {
      if (!(cause instanceof CoreError)) throw cause
      return reply.code(400).send({ message: cause.message })
    }
    return limits.current
  })
}

function messageOf({ instancePath, message }: { instancePath: string; message: string }): string {
  const keys = Object.keys(limitsOptions.properties)
  const key = instancePath.slice(1)
  const what =
    key === '' ? `the limits ${message}` : keys.includes(key) ? `${key} ${message}` : 'there is an unknown key'
  return `${what}: give ${keys.join(', ')}, each a whole number of bytes, 0 for no limit`
}
