import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'
import { RegistryError } from '../errors.ts'
import type { Guard } from './guard.ts'

const READS: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/** Refuses what would change the storage while it is on. Requests that have begun go on. */
export class ReadOnlyMode {
  isOn: boolean

  constructor(isOn: boolean) {
    this.isOn = isOn
  }

  readonly guard: Guard = ({ method }) => {
    if (!this.isOn || READS.has(method)) return
    throw new RegistryError(
      'UNSUPPORTED',
      'the registry takes no changes at the moment: try again later, or ask its operator',
      {
        headers: { allow: 'GET, HEAD' },
      },
    )
  }
}

const bodySchema = Type.Object({ readOnly: Type.Boolean() }, { additionalProperties: false })

/** Adds the routes by which operators look at the mode and change it. */
export function addReadOnlyRoutes(server: FastifyInstance, mode: ReadOnlyMode): void {
  const view = (): Static<typeof bodySchema> => ({ readOnly: mode.isOn })
  server.get('/api/v1/read-only', async () => view())
  server.put('/api/v1/read-only', async (request, reply) => {
    // Not by the server's own validation, which would take "false" for a boolean.
    const { body } = request
    if (!Value.Check(bodySchema, body)) {
      return reply.code(400).send({ message: 'send {"readOnly": true} or {"readOnly": false}' })
    }
    mode.isOn = body.readOnly
    return view()
  })
}
