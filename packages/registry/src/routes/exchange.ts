import type { Http2ServerRequest } from 'node:http2'
import type { BodyPart, ContentAnswer } from '@shoal/core'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { RegistryError } from '../errors.ts'
import type { Route, RouteKind } from './path.ts'

/** A request and its reply on their way through a handler. */
export interface Exchange {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly query: URLSearchParams
}

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** Answers one method of one kind of path; resolves when the reply was given to fastify, or sent. */
export type Handler<K extends RouteKind> = (
  exchange: Exchange,
  route: Extract<Route, { kind: K }>,
) => Promise<FastifyReply>

/** The methods of one kind of path. */
export type Handlers<K extends RouteKind> = Readonly<Partial<Record<Method, Handler<K>>>>

/** The handlers of every kind of path. */
export type RouteTable = { readonly [K in RouteKind]: Handlers<K> }

/** One header of the request; undefined when it is absent or empty. */
export function headerOf({ request }: Exchange, name: string): string | undefined {
  const value = request.headers[name]
  const text = Array.isArray(value) ? value.join(', ') : value
  return text === undefined || text === '' ? undefined : text
}

/** The bytes that the request says its body has; undefined when it streams. */
export function contentLengthOf(exchange: Exchange): number | undefined {
  const text = headerOf(exchange, 'content-length')
  if (text !== undefined) return Number(text)
  const raw: object = exchange.request.raw
  // HTTP/2 needs no header for a body: the request ends with its head, or it does not.
  if ('stream' in raw) return (raw as Http2ServerRequest).stream.endAfterHeaders ? 0 : undefined
  return headerOf(exchange, 'transfer-encoding') === undefined ? 0 : undefined
}

/**
 * The request's body. Leaving it early leaves the connection up, so that the client can be told why.
 */
export function bodyOf({ request }: Exchange): AsyncIterable<Uint8Array> {
  return request.raw.iterator({ destroyOnReturn: false })
}

/** The whole body. Throws RegistryError `SIZE_INVALID` (413) when it is longer than `maxBytes`. */
export async function readBody(exchange: Exchange, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = () =>
    new RegistryError('SIZE_INVALID', `the body is larger than the ${maxBytes} bytes that a manifest may have`, {
      status: 413,
    })
  if ((contentLengthOf(exchange) ?? 0) > maxBytes) throw tooLarge()
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of bodyOf(exchange)) {
    length += chunk.byteLength
    if (length > maxBytes) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}

/**
 * Sets status and headers of an answer; returns what is to be sent as its body.
 * @throws RegistryError when the client asks for what can not be had: `RANGE_INVALID`, or `UNSUPPORTED` (412)
 */
export function beginAnswer({ reply }: Exchange, answer: ContentAnswer): readonly BodyPart[] {
  const headers = Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)]))
  if ('why' in answer) {
    throw new RegistryError(answer.status === 416 ? 'RANGE_INVALID' : 'UNSUPPORTED', answer.why, {
      status: answer.status,
      headers,
    })
  }
  reply.code(answer.status).headers(answer.headers)
  return answer.body
}
