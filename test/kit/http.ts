import { once } from 'node:events'
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { KitError } from './errors.ts'

const IDLE_TIMEOUT_MS = 60_000
const MAX_TEXT_BYTES = 16 * 1024 * 1024
const agent = new Agent({ keepAlive: true, maxSockets: 16 })

/** What to send. */
export interface HttpRequest {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | number>>
  readonly body?: Readable | Uint8Array | string
  /** How long the server may say nothing. */
  readonly idleTimeoutMs?: number
}

/** An answer whose body has not been read yet; it must be. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: IncomingMessage
}

/** Plain HTTP as it is: no redirects followed, nothing decoded, no header added but what HTTP/1.1 needs. */
export async function http(url: string | URL, options: HttpRequest = {}): Promise<HttpAnswer> {
  const { method = 'GET', headers = {}, body, idleTimeoutMs = IDLE_TIMEOUT_MS } = options
  const sent = request(url, { method, headers: { ...headers }, agent })
  sent.setTimeout(idleTimeoutMs, () => {
    sent.destroy(new KitError('TIMED_OUT', `${method} ${url}: nothing heard for ${idleTimeoutMs} ms`))
  })
  const answered = once(sent, 'response') as Promise<[IncomingMessage]>
  const written = body === undefined || typeof body === 'string' || body instanceof Uint8Array
  if (written) sent.end(body)
  // A server that answers early stops reading: its answer counts, not the broken pipe.
  else void pipeline(body, sent).catch(() => {})
  const [response] = await answered
  return { status: response.statusCode ?? 0, headers: response.headers, body: response }
}

/** The whole body, as text. Throws KitError `UNEXPECTED_ANSWER` beyond 16 MiB. */
export async function readText(body: IncomingMessage): Promise<string> {
  return (await readBytes(body)).toString('utf8')
}

/** The whole body. Throws KitError `UNEXPECTED_ANSWER` beyond 16 MiB. */
async function readBytes(body: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_TEXT_BYTES) throw new KitError('UNEXPECTED_ANSWER', `a body of more than ${MAX_TEXT_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Sends, demands one of `statuses`, and reads the body. Throws KitError `UNEXPECTED_ANSWER` with the body's start. */
export async function httpExpect(
  url: string | URL,
  statuses: readonly number[],
  options: HttpRequest = {},
): Promise<{ status: number; headers: IncomingHttpHeaders; body: Buffer }> {
  const answer = await http(url, options)
  const body = await readBytes(answer.body)
  if (!statuses.includes(answer.status)) {
    const start = body.toString('utf8', 0, 500)
    throw new KitError('UNEXPECTED_ANSWER', `${options.method ?? 'GET'} ${url}: ${answer.status}: ${start}`)
  }
  return { ...answer, body }
}
