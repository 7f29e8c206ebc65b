import type { Logger } from '@shoal/core'
import type { Answer, Authorizer } from './authorizer.ts'
import { type Credentials, credentialsFor } from './credentials.ts'
import type { Endpoint } from './endpoint.ts'
import { OriginError, originError, type Subject, statusError } from './errors.ts'
import type { Receiver, ResponseHead } from './exchange.ts'
import { type FollowedRequest, type FollowedResponse, follow, headerOf, headerValues } from './follow.ts'
import type { KnownRedirects } from './known-redirects.ts'
import type { RateHolds } from './rate-holds.ts'
import { MAX_WAIT_MS, parseRetryAfter, type RetryDependencies, withRetries } from './retry.ts'
import type { Transport } from './transport.ts'

/** One request to an origin; credentials, redirects and retries are the Requester's business. */
export interface OriginRequest {
  readonly endpoint: Endpoint
  readonly subject: Subject
  readonly method: 'GET' | 'HEAD'
  /** Below the endpoint's base, from `/v2/` on, query included. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** The client's `Authorization`, as it came. */
  readonly authorization: string | undefined
  readonly accepts: ReadonlySet<number>
  readonly signal: AbortSignal
  readonly totalTimeoutMs?: number
  /** All the waiting between tries, in milliseconds; default MAX_WAIT_MS. */
  readonly maxWaitMs?: number | undefined
  /** Set for what has a fixed address for a while (a blob): where it was redirected to is asked first next time. */
  readonly redirectKey?: string
}

/** What a Requester works with. */
export interface RequesterDependencies {
  readonly transport: Transport
  readonly authorizer: Authorizer
  readonly redirects: KnownRedirects
  readonly holds: RateHolds
  /** The registry at a URL that `from` redirects to. */
  readonly endpointAt: (url: URL, from: Endpoint) => Endpoint
  readonly log: Logger
  readonly retry: RetryDependencies
  readonly now: () => number
}

const NONE: ReadonlySet<number> = new Set()
const NO_RECEIVER: Receiver = { onHead: () => {}, onData: () => true }
/** A token that expired, then a fresh one: no request needs more answers to its challenges. */
const MAX_ANSWERS = 2

/** Asks an origin until there is an answer of an accepted status, or an OriginError says why there is none. */
export class Requester {
  readonly #dependencies: RequesterDependencies

  constructor(dependencies: RequesterDependencies) {
    this.#dependencies = dependencies
  }

  /**
   * @param receiver its `onHead` may come more than once (retries), each time before any data of that try; after
   *   data has come nothing is retried
   * @returns the head of the accepted answer, its body has been received
   */
  async perform(request: OriginRequest, receiver: Receiver): Promise<ResponseHead> {
    const { endpoint, subject, signal, maxWaitMs = MAX_WAIT_MS } = request
    const { log, retry, now, holds } = this.#dependencies
    const credentials = credentialsFor(endpoint, request.authorization, subject)
    const hold = holds.of(endpoint.registry, credentials.hash)
    const onRetry = ({ code, data }: OriginError, delayMs: number) =>
      log.debug({ ...subject, code, status: data.status, delayMs }, 'origin request is tried again')
    const context = { subject, signal, maxWaitMs, hold, now, onRetry }
    return withRetries(() => this.#attempt(request, credentials, receiver), context, retry)
  }

  async #attempt(request: OriginRequest, credentials: Credentials, receiver: Receiver): Promise<ResponseHead> {
    const { endpoint, subject, signal } = request
    const redirectKey = request.redirectKey === undefined ? undefined : `${request.redirectKey} ${credentials.hash}`
    const known = redirectKey === undefined ? undefined : await this.#tryKnown(redirectKey, request, receiver)
    if (known !== undefined) return known

    const context = { endpoint, credentials, subject, signal }
    const url = new URL(endpoint.base.href.replace(/\/$/, '') + request.path)
    let answer: Answer | undefined = this.#dependencies.authorizer.first(context)
    for (let answers = 0; ; answers++) {
      const response = await this.#follow(request, url, answer?.authorization, receiver)
      const { head } = response
      if (head.status === 401 && !response.isElsewhere && answers < MAX_ANSWERS) {
        const challenges = headerValues(head, 'www-authenticate')
        const told = challenges.length > 0 ? challenges : await this.#challengesOfAll(request)
        answer = await this.#dependencies.authorizer.answer(context, told, answer)
        continue
      }
      const there = await this.#answerElsewhere(request, response, receiver)
      if (there !== undefined) return there
      if (!request.accepts.has(head.status)) throw this.#refusal(request, response)
      if (redirectKey !== undefined && response.isElsewhere) this.#dependencies.redirects.set(redirectKey, response.url)
      return head
    }
  }

  /** Of a registry that challenges at `/v2/` alone, as Docker's clients ask for it there. */
  async #challengesOfAll(request: OriginRequest): Promise<readonly string[]> {
    const url = new URL(`${request.endpoint.base.href.replace(/\/$/, '')}/v2/`)
    const asked: OriginRequest = { ...request, method: 'GET', headers: {}, accepts: NONE }
    const { head, isElsewhere } = await this.#follow(asked, url, undefined, NO_RECEIVER)
    return head.status === 401 && !isElsewhere ? headerValues(head, 'www-authenticate') : []
  }

  /**
   * The answer of a registry that another one redirects to, and that wants a token: its own account's, where it is listed,
   * else one for everybody. The credentials for the first registry are none of its business.
   */
  async #answerElsewhere(
    request: OriginRequest,
    { head, url, isElsewhere }: FollowedResponse,
    receiver: Receiver,
  ): Promise<ResponseHead | undefined> {
    if (head.status !== 401 || !isElsewhere) return undefined
    const endpoint = this.#dependencies.endpointAt(url, request.endpoint)
    const subject: Subject = { registry: endpoint.registry, repository: request.subject.repository }
    const credentials = credentialsFor(endpoint, undefined, subject)
    const context = { endpoint, credentials, subject, signal: request.signal }
    const challenges = headerValues(head, 'www-authenticate')
    const answer = await this.#dependencies.authorizer
      .answer(context, challenges, undefined)
      .catch((error: unknown) => {
        if (error instanceof OriginError && error.code === 'UNAUTHORIZED') return undefined
        throw error
      })
    if (answer === undefined) return undefined
    const response = await this.#follow({ ...request, endpoint }, url, answer.authorization, receiver)
    return request.accepts.has(response.head.status) ? response.head : undefined
  }

  /** The answer from where the content was last found; undefined when it is not there any more. */
  async #tryKnown(key: string, request: OriginRequest, receiver: Receiver): Promise<ResponseHead | undefined> {
    const url = this.#dependencies.redirects.get(key)
    if (url === undefined) return undefined
    try {
      const { head } = await this.#follow(request, url, undefined, receiver)
      if (request.accepts.has(head.status)) return head
    } catch (error) {
      // Only what a new address can mend: neither an abort nor a fault of the content itself.
      if (!(error instanceof OriginError) || error.code !== 'UNAVAILABLE' || error.data.isRetryable === false) {
        throw error
      }
    }
    this.#dependencies.redirects.delete(key)
    return undefined
  }

  #follow(request: OriginRequest, url: URL, authorization: string | undefined, receiver: Receiver) {
    const { subject, method, headers, accepts, signal, totalTimeoutMs } = request
    const followed: FollowedRequest = { subject, url, method, headers, authorization, accepts, signal }
    return follow(
      this.#dependencies.transport,
      request.endpoint,
      totalTimeoutMs === undefined ? followed : { ...followed, totalTimeoutMs },
      receiver,
    )
  }

  #refusal({ subject, method }: OriginRequest, { head, url, isElsewhere }: FollowedResponse): OriginError {
    const { status } = head
    if (status === 401 && !isElsewhere) {
      return originError('UNAUTHORIZED', subject, 'the origin refuses even a fresh token: check its token server', {
        data: { status, challenges: headerValues(head, 'www-authenticate') },
      })
    }
    if (isElsewhere && (status === 401 || status === 403)) {
      return originError(
        'DENIED',
        subject,
        `${url.host}, which the origin redirects to, answers ${status}: check the origin's storage and clock`,
        { data: { status } },
      )
    }
    const retryAfterMs = parseRetryAfter(headerOf(head, 'retry-after'), this.#dependencies.now())
    // A GET decides instead, and has retries of its own.
    const isFinal = method === 'HEAD' && status !== 429 && status !== 503
    return statusError(subject, status, { retryAfterMs, isElsewhere, ...(isFinal ? { isRetryable: false } : {}) })
  }
}
