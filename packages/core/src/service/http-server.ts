import type { IncomingMessage } from 'node:http'
import { constants, type Http2ServerRequest } from 'node:http2'
import type { Socket } from 'node:net'
import type { SecureContextOptions } from 'node:tls'
import Fastify, { type FastifyHttpOptions, type FastifyInstance, type RawServerDefault } from 'fastify'
import { type OciErrorCode, ociErrorBody } from '../oci/errors.ts'
import { toOriginForm } from './request-target.ts'

/** How an HTTP server speaks TLS. */
export interface HttpServerTls extends SecureContextOptions {
  /** Whether clients must show a certificate that one of `ca` signed. */
  readonly mustKnowClient: boolean
  /** Whether clients that want HTTP/2 get it. */
  readonly http2: boolean
}

/** Options of Fastify, but for those that every server of ours has the same. */
export type HttpServerOptions = Omit<
  FastifyHttpOptions<RawServerDefault>,
  'http' | 'connectionTimeout' | 'keepAliveTimeout' | 'requestTimeout' | 'clientErrorHandler' | 'rewriteUrl'
> & {
  /** Plain HTTP when undefined. */
  readonly tls?: HttpServerTls | undefined
}

/**
 * A connection on which nothing moves for so long is closed, between requests and within one. Longer than the 90 s for
 * which clients in Go keep an idle connection, so that they do not send on one that is being closed.
 */
const SILENCE_MS = 5 * 60_000
/** For the head of a request, all told: it is no use before it is whole. */
const HEAD_MS = 60_000
/** Clients that read layers in part ask for some 24 KiB of ranges in one header; tokens can be as long. */
const MAX_HEADER_BYTES = 64 * 1024
/** Beside the headers, for the first line. */
const FIRST_LINE_BYTES = 8 * 1024
/** What a client may send ahead in one HTTP/2 stream, and streams that it may have open. */
const WINDOW_BYTES = 1024 * 1024
const MAX_STREAMS = 128
/** How long a client that sent too much may go on before its connection is cut. */
const DRAIN_MS = 2000

/**
 * Makes an HTTP server. Every one of ours is made here, so that all have one set of limits, whatever they speak: plain or
 * TLS, HTTP/1.1 or 2. Silence of five minutes ends a connection or a stream; how long a request lasts ends nothing.
 * Headers may have 64 KiB; more are answered with 431. Request targets may be whole URLs (RFC 9112 §3.2.2). No answer's
 * type is guessed at by browsers.
 * @param silenceMs other than five minutes
 */
export function createHttpServer(
  { tls, ...options }: HttpServerOptions = {},
  silenceMs: number = SILENCE_MS,
): FastifyInstance {
  const http1 = {
    maxHeaderSize: MAX_HEADER_BYTES + FIRST_LINE_BYTES,
    headersTimeout: HEAD_MS,
    requestTimeout: 0,
    keepAliveTimeout: silenceMs,
  }
  const common = {
    ...options,
    connectionTimeout: silenceMs,
    http2SessionTimeout: silenceMs,
    keepAliveTimeout: silenceMs,
    requestTimeout: 0,
    rewriteUrl: (request: IncomingMessage) => toOriginForm(request),
    clientErrorHandler: answerUnreadable,
  }
  const server = tls === undefined ? Fastify({ ...common, http: http1 }) : withTls(common, tls, http1)
  server.addHook('onRequest', async ({ raw }, reply) => {
    reply.header('x-content-type-options', 'nosniff')
    if ('stream' in raw) {
      const { stream } = raw as unknown as Http2ServerRequest
      stream.setTimeout(silenceMs, () => stream.close(constants.NGHTTP2_CANCEL))
    }
    if (bytesOf(raw.headers) <= MAX_HEADER_BYTES) return
    return reply.code(431).type('application/json').send(ociErrorBody('UNSUPPORTED', TOO_LARGE))
  })
  return server
}

function withTls(common: object, { mustKnowClient, http2, ...context }: HttpServerTls, http1: object): FastifyInstance {
  const secure = { ...context, ...http1, requestCert: mustKnowClient, rejectUnauthorized: mustKnowClient }
  const settings = {
    initialWindowSize: WINDOW_BYTES,
    maxConcurrentStreams: MAX_STREAMS,
    // Past its bound Node ends the stream without a word, so the bound is where we can still answer.
    maxHeaderListSize: 4 * MAX_HEADER_BYTES,
  }
  const https = http2 ? { ...secure, allowHTTP1: true, settings } : secure
  // All are HTTP servers to what is built on them; Fastify has a type of its own for each.
  return Fastify({ ...common, ...(http2 ? { http2 } : {}), https } as object) as unknown as FastifyInstance
}

const TOO_LARGE = `the headers of the request are larger than ${MAX_HEADER_BYTES / 1024} KiB: send fewer or shorter ones`

/** What a client is told whose request can not be read, by the parser's code. */
const UNREADABLE: Readonly<Record<string, readonly [status: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', TOO_LARGE],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', `the head of the request did not come within ${HEAD_MS / 1000} s`],
}

function answerUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    // An error that comes after the answer, of what the client still sends, changes nothing.
    if (!socket.writableEnded) socket.destroy()
    return
  }
  const [status, message] = UNREADABLE[error.code ?? ''] ?? ['400 Bad Request', 'the request is not HTTP']
  const code: OciErrorCode = 'UNSUPPORTED'
  const body = JSON.stringify(ociErrorBody(code, message))
  const head = [
    `HTTP/1.1 ${status}`,
    'content-type: application/json; charset=utf-8',
    'x-content-type-options: nosniff',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  // To close at once would take the answer away from a client that is still sending.
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
  const deadline = setTimeout(() => socket.destroy(), DRAIN_MS)
  socket.once('close', () => clearTimeout(deadline))
}

function bytesOf(headers: IncomingMessage['headers']): number {
  let bytes = 0
  for (const [name, value] of Object.entries(headers)) bytes += name.length + (value?.toString().length ?? 0)
  return bytes
}
