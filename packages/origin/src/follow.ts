import type { Endpoint } from './endpoint.ts'
import { originError, type Subject } from './errors.ts'
import type { Receiver, ResponseHead } from './exchange.ts'
import { exchangeFailure } from './failure.ts'
import { isRedirect, isSameOrigin, MAX_REDIRECTS, redirectTarget } from './redirect.ts'
import type { Transport } from './transport.ts'

/** A request that redirects may carry to other hosts. */
export interface FollowedRequest {
  readonly subject: Subject
  readonly url: URL
  readonly method: 'GET' | 'HEAD'
  readonly headers: Readonly<Record<string, string>>
  /** Sent as long as scheme, host and port stay those of `url`. */
  readonly authorization: string | undefined
  /** Statuses whose answer goes to the receiver; the body of any other is thrown away. */
  readonly accepts: ReadonlySet<number>
  readonly signal: AbortSignal
  readonly totalTimeoutMs?: number
}

/** The answer that is no redirect, and where it came from. */
export interface FollowedResponse {
  readonly head: ResponseHead
  readonly url: URL
  /** Whether a redirect led away from the first URL's scheme, host or port. */
  readonly isElsewhere: boolean
}

/** Bodies of refusals are read to the end up to here, so that their connection can be used again. */
const MAX_DISCARDED_BYTES = 64 * 1024

/** Sends a request and follows its redirects (RFC 9110 §15.4; GET and HEAD keep their method). */
export async function follow(
  transport: Transport,
  endpoint: Endpoint,
  request: FollowedRequest,
  receiver: Receiver,
): Promise<FollowedResponse> {
  const { subject, method, signal, totalTimeoutMs } = request
  let url = request.url
  let isElsewhere = false
  for (let hops = 0; ; hops++) {
    const sorter = new AcceptedOnly(request.accepts, receiver)
    const headers = { ...request.headers }
    if (request.authorization !== undefined && !isElsewhere) headers.authorization = request.authorization
    try {
      const exchange = { url, method, headers, signal }
      await transport.send(endpoint, totalTimeoutMs === undefined ? exchange : { ...exchange, totalTimeoutMs }, sorter)
    } catch (error) {
      const phase = sorter.hasPassedData ? 'body' : 'request'
      const proxy = transport.proxyFor(endpoint, url)?.host
      throw exchangeFailure(error, subject, { phase, signal, isClosed: transport.isClosed, proxy })
    }
    const { head } = sorter
    if (head === undefined) throw originError('PROTOCOL', subject, 'the origin sent no answer')
    if (!isRedirect(head.status)) return { head, url, isElsewhere }
    if (hops === MAX_REDIRECTS) {
      throw originError('PROTOCOL', subject, `the origin redirects more than ${MAX_REDIRECTS} times`)
    }
    const next = redirectTarget(endpoint, url, headerOf(head, 'location'), subject)
    // Once away, always away: a host elsewhere must not be able to send our credentials anywhere, even back.
    isElsewhere ||= !isSameOrigin(request.url, next)
    url = next
  }
}

/** The one value of a header; undefined when there is none, or more than one. */
export function headerOf(head: ResponseHead, name: string): string | undefined {
  const value = head.headers[name]
  return typeof value === 'string' ? value : undefined
}

/** All values of a header. */
export function headerValues(head: ResponseHead, name: string): readonly string[] {
  const value = head.headers[name]
  return value === undefined ? [] : typeof value === 'string' ? [value] : value
}

class AcceptedOnly implements Receiver {
  readonly #accepts: ReadonlySet<number>
  readonly #receiver: Receiver
  #isAccepted = false
  #discardedBytes = 0
  head: ResponseHead | undefined
  hasPassedData = false

  constructor(accepts: ReadonlySet<number>, receiver: Receiver) {
    this.#accepts = accepts
    this.#receiver = receiver
  }

  onHead(head: ResponseHead): void {
    this.head = head
    this.#isAccepted = this.#accepts.has(head.status)
    if (this.#isAccepted) this.#receiver.onHead(head)
  }

  onData(chunk: Buffer): boolean | Promise<boolean> {
    if (this.#isAccepted) {
      this.hasPassedData = true
      return this.#receiver.onData(chunk)
    }
    this.#discardedBytes += chunk.length
    return this.#discardedBytes <= MAX_DISCARDED_BYTES
  }
}
