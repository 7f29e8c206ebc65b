import { ShoalError } from '@shoal/core'

/**
 * What can go wrong between a node and an origin.
 *
 * - `UNAUTHORIZED`: no credentials, or refused ones; `challenges` holds what to relay to the client
 * - `DENIED`: the origin knows the credentials and says no (403)
 * - `NOT_FOUND`: no such repository, manifest or blob (404)
 * - `RATE_LIMITED`: 429 that outlasted our tries, or asked for a longer wait than we give, be it of this call or of one
 *   before it; see `retryAfterMs`
 * - `UNAVAILABLE`: not reachable, a broken connection, or 5xx, after retries
 * - `STALLED`: no header or no byte within its deadline
 * - `SIZE_MISMATCH`: the blob is not as long as it was said to be
 * - `DIGEST_MISMATCH`: a manifest's bytes are not those of its digest
 * - `PROTOCOL`: an answer that HTTP or the OCI distribution spec does not allow, or that is too large
 * - `NOT_ALLOWED`: our own rules forbid asking that host
 * - `ABORTED`: the caller's signal, or `close()`
 */
export type OriginErrorCode =
  | 'UNAUTHORIZED'
  | 'DENIED'
  | 'NOT_FOUND'
  | 'RATE_LIMITED'
  | 'UNAVAILABLE'
  | 'STALLED'
  | 'SIZE_MISMATCH'
  | 'DIGEST_MISMATCH'
  | 'PROTOCOL'
  | 'NOT_ALLOWED'
  | 'ABORTED'

/** What an OriginError carries besides its message; plain data, so it survives the way out of a worker thread. */
export interface OriginErrorData {
  /** Registry as the client names it. */
  readonly registry?: string
  readonly repository?: string
  /** HTTP status of the answer, where there was one. */
  readonly status?: number
  /** `WWW-Authenticate` values of the origin, verbatim. */
  readonly challenges?: readonly string[]
  /** How long the origin asked to be left alone, in milliseconds. */
  readonly retryAfterMs?: number
  /** False when asking again at once can not help, or when bytes have already been handed on. */
  readonly isRetryable?: boolean
  /** Whether it was not the registry that answered, but where that redirected to. */
  readonly isElsewhere?: boolean
}

/** An error of the room `origin`. Never holds a token, a password, or the query of a URL. */
export class OriginError extends ShoalError<OriginErrorCode> {
  declare readonly data: OriginErrorData & Readonly<Record<string, unknown>>

  constructor(code: OriginErrorCode, message: string, options: { cause?: unknown; data?: OriginErrorData } = {}) {
    super(code, message, { cause: options.cause, data: { ...options.data } })
  }

  /** The origin's `WWW-Authenticate` values; empty unless `UNAUTHORIZED`. */
  get challenges(): readonly string[] {
    return this.data.challenges ?? []
  }

  /** Milliseconds the origin asked to be left alone, where it said so. */
  get retryAfterMs(): number | undefined {
    return this.data.retryAfterMs
  }
}

const AWAY: ReadonlySet<OriginErrorCode> = new Set(['UNAVAILABLE', 'STALLED', 'RATE_LIMITED'])

/** Whether `error` says that the origin can not be asked at the moment; what is kept may stand in for it. */
export function isOriginAway(error: unknown): error is OriginError {
  return error instanceof OriginError && AWAY.has(error.code)
}

/** What is being asked of whom, for messages and error data. */
export interface Subject {
  readonly registry: string
  readonly repository: string
}

/** `repository at registry`. */
function describe(subject: Subject): string {
  return `${subject.repository} at ${subject.registry}`
}

/** An OriginError about `subject`; its message starts with the subject. */
export function originError(
  code: OriginErrorCode,
  subject: Subject,
  message: string,
  options: { cause?: unknown; data?: OriginErrorData } = {},
): OriginError {
  const { registry, repository } = subject
  return new OriginError(code, `${describe(subject)}: ${message}`, {
    cause: options.cause,
    data: { registry, repository, ...options.data },
  })
}

/** The error of an abort: by the caller's signal or by `close()`. */
export function abortedError(subject: Subject, cause?: unknown): OriginError {
  return originError('ABORTED', subject, 'the request was given up by the one who asked for it', { cause })
}

/** The error for an answer whose status is none that was asked for. */
export function statusError(
  subject: Subject,
  status: number,
  { retryAfterMs, ...others }: { retryAfterMs?: number | undefined; isRetryable?: boolean; isElsewhere?: boolean } = {},
): OriginError {
  const data: OriginErrorData = { status, ...others, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) }
  if (status === 403) {
    return originError('DENIED', subject, 'the origin denies access (403): give the account pull rights there', {
      data,
    })
  }
  if (status === 404) return originError('NOT_FOUND', subject, 'the origin does not have it (404)', { data })
  if (status === 429) {
    return originError(
      'RATE_LIMITED',
      subject,
      'the origin limits our rate (429): wait, or configure an account there that has a higher limit',
      { data },
    )
  }
  if (status === 407) {
    return originError('UNAVAILABLE', subject, 'the proxy on the way wants credentials (407): give them in its URL', {
      data: { ...data, isRetryable: false },
    })
  }
  if (status >= 500) {
    return originError('UNAVAILABLE', subject, `the origin answers ${status}: check that it is healthy`, { data })
  }
  return originError('PROTOCOL', subject, `the origin answers ${status}, which is no answer to what was asked`, {
    data,
  })
}

/** The outcome label of a failed call, for metrics. */
export function outcomeOf(error: unknown): string {
  return error instanceof OriginError ? error.code.toLowerCase() : 'error'
}
