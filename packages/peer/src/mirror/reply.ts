import { ociErrorBody } from '@shoal/core'
import type { FastifyReply } from 'fastify'
import type { Failure } from './failure.ts'

/** Sends an error in the OCI spec's form; without a body to HEAD. */
export function sendFailure(reply: FastifyReply, { status, code, message, headers }: Failure): FastifyReply {
  reply.code(status)
  for (const [name, value] of Object.entries(headers)) if (value.length > 0) reply.header(name, value)
  return reply.send(ociErrorBody(code, message))
}

/** Aborts when the client has left before it had its whole answer (or has it: then nobody listens any more). */
export function clientGone(reply: FastifyReply): AbortSignal {
  const leaving = new AbortController()
  reply.raw.once('close', () => leaving.abort(new Error('the client left')))
  return leaving.signal
}
