import { BoundedBody } from './body.ts'
import { basicUsername, type Credentials } from './credentials.ts'
import type { Endpoint } from './endpoint.ts'
import { originError, type Subject, statusError } from './errors.ts'
import { follow, headerOf } from './follow.ts'
import { LruMap } from './lru.ts'
import type { TokenDemand } from './realm.ts'
import { parseRetryAfter } from './retry.ts'
import type { Transport } from './transport.ts'

/** A token and when it was last known to be good. */
interface HeldToken {
  readonly token: string
  /** Milliseconds since the epoch. */
  readonly useUntil: number
}

const MAX_TOKENS = 1024
const MAX_ANSWER_BYTES = 64 * 1024
const MAX_TOKEN_LENGTH = 12_288
/** Source: Distribution, spec/auth/token.md: 60 seconds where `expires_in` is absent. */
const DEFAULT_LIFETIME_S = 60
const MAX_LIFETIME_S = 3600
/** Given up this long before expiry, so that a token does not expire on its way. */
const MARGIN_MS = 10_000
const OK: ReadonlySet<number> = new Set([200])
/** What token servers answer to credentials they do not take. */
const REFUSALS: ReadonlySet<number> = new Set([400, 401, 403])

/** Bearer tokens: fetched from realms (one request however many ask), kept until shortly before they expire. */
export class Tokens {
  readonly #transport: Transport
  readonly #limits: { readonly totalTimeoutMs: number }
  readonly #now: () => number
  readonly #held = new LruMap<HeldToken>(MAX_TOKENS)
  readonly #pending = new Map<string, Promise<string | undefined>>()
  readonly #closing = new AbortController()

  constructor(transport: Transport, limits: { readonly totalTimeoutMs: number }, now: () => number) {
    this.#transport = transport
    this.#limits = limits
    this.#now = now
  }

  /** The token kept for a demand and credentials, if it can still be used. */
  held(endpoint: Endpoint, demand: TokenDemand, hash: string): string | undefined {
    const entry = this.#held.get(keyOf(endpoint, demand, hash))
    return entry !== undefined && this.#now() < entry.useUntil ? entry.token : undefined
  }

  /** Forgets a token that the origin no longer takes. */
  drop(endpoint: Endpoint, demand: TokenDemand, hash: string): void {
    this.#held.delete(keyOf(endpoint, demand, hash))
  }

  /**
   * Asks the realm for a token; undefined when it refuses. One request serves all who ask meanwhile; a caller whose
   * signal aborts leaves it running for the others, bounded by its own deadlines.
   */
  fetch(
    endpoint: Endpoint,
    demand: TokenDemand,
    credentials: Credentials,
    subject: Subject,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const key = keyOf(endpoint, demand, credentials.hash)
    let pending = this.#pending.get(key)
    if (pending === undefined) {
      pending = this.#request(endpoint, demand, credentials, subject)
        .then((entry) => {
          if (entry !== undefined) this.#held.set(key, entry)
          return entry?.token
        })
        .finally(() => this.#pending.delete(key))
      this.#pending.set(key, pending)
    }
    return untilAborted(pending, signal)
  }

  /** Gives up what is under way. */
  close(): void {
    this.#closing.abort()
  }

  async #request(
    endpoint: Endpoint,
    demand: TokenDemand,
    credentials: Credentials,
    subject: Subject,
  ): Promise<HeldToken | undefined> {
    const { authorization } = credentials
    const body = new BoundedBody(subject, MAX_ANSWER_BYTES)
    const { head } = await follow(
      this.#transport,
      endpoint,
      {
        subject,
        url: tokenUrl(demand, authorization === undefined ? undefined : basicUsername(authorization)),
        method: 'GET',
        headers: { accept: 'application/json' },
        authorization,
        accepts: OK,
        signal: this.#closing.signal,
        totalTimeoutMs: this.#limits.totalTimeoutMs,
      },
      body,
    )
    if (REFUSALS.has(head.status)) return undefined
    if (head.status !== 200) {
      const retryAfterMs = parseRetryAfter(headerOf(head, 'retry-after'), this.#now())
      throw statusError(subject, head.status, { retryAfterMs })
    }
    const answer = parseTokenAnswer(body.bytes())
    if (answer === undefined) {
      throw originError('PROTOCOL', subject, `the token server ${demand.realm.host} answers without a usable token`)
    }
    const lifetimeMs = answer.lifetimeS * 1000
    return { token: answer.token, useUntil: this.#now() + lifetimeMs - Math.min(MARGIN_MS, lifetimeMs / 4) }
  }
}

/** What a token server's answer holds; undefined when that is no usable token. */
export function parseTokenAnswer(bytes: Uint8Array): { token: string; lifetimeS: number } | undefined {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
  if (typeof json !== 'object' || json === null) return undefined
  const { token, access_token, expires_in } = json as Record<string, unknown>
  const text = typeof token === 'string' && token !== '' ? token : access_token
  if (typeof text !== 'string' || text.length > MAX_TOKEN_LENGTH || !/^[\x21-\x7e]+$/.test(text)) return undefined
  const lifetimeS = typeof expires_in === 'number' && expires_in > 0 ? expires_in : DEFAULT_LIFETIME_S
  return { token: text, lifetimeS: Math.min(lifetimeS, MAX_LIFETIME_S) }
}

function tokenUrl(demand: TokenDemand, account: string | undefined): URL {
  const url = new URL(demand.realm)
  url.hash = ''
  if (demand.service !== undefined) url.searchParams.append('service', demand.service)
  for (const scope of demand.scopes) url.searchParams.append('scope', scope)
  url.searchParams.append('client_id', 'shoal')
  if (account !== undefined) url.searchParams.append('account', account)
  return url
}

function keyOf(endpoint: Endpoint, demand: TokenDemand, hash: string): string {
  return JSON.stringify([endpoint.registry, demand.realm.href, demand.service, demand.scopes, hash])
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
