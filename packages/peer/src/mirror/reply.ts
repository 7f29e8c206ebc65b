import { type ContentAnswer, ociErrorBody } from '@shoal/core'
import type { FastifyReply } from 'fastify'
import { type Failure, failure } from './failure.ts'

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

/** An answer that is all head, or an error. */
type BodilessAnswer = ContentAnswer & ({ readonly why: string } | { readonly body: readonly [] })

/** Whether nothing of the content is to be sent. */
export function hasNoBody(answer: ContentAnswer): answer is BodilessAnswer {
  return 'why' in answer || answer.body.length === 0
}

/** Sends such an answer. */
export function sendHead(reply: FastifyReply, answer: BodilessAnswer): FastifyReply {
  if (!('why' in answer)) return reply.code(answer.status).headers(answer.headers).send()
  const headers = Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)]))
  const code = answer.status === 416 ? 'RANGE_INVALID' : 'UNSUPPORTED'
  return sendFailure(reply, { ...failure(code, answer.why, headers), status: answer.status })
}
