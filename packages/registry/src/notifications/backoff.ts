/** The longest pause that failures lead to. */
const MAX_BACKOFF_MS = 5 * 60_000
/** The longest pause that an endpoint can ask for. */
const MAX_RETRY_AFTER_MS = 3_600_000

export interface Failures {
  /** How many in a row, this one included. */
  readonly inARow: number
  readonly thresholdFailures: number
  readonly backoffMs: number
  /** What the endpoint asked for; 0 when it did not. */
  readonly retryAfterMs: number
}

/**
 * Milliseconds until the next attempt.
 * @param random from 0 to below 1: those who failed together shall not come back together
 */
export function retryDelayMs({ inARow, thresholdFailures, backoffMs, retryAfterMs }: Failures, random: number): number {
  const doublings = Math.max(0, inARow - thresholdFailures)
  const backoff = Math.min(MAX_BACKOFF_MS, backoffMs * 2 ** doublings)
  return Math.max(backoff * (1 - random / 2), Math.min(MAX_RETRY_AFTER_MS, retryAfterMs))
}

/**
 * Milliseconds that a `Retry-After` header asks for; 0 when there is none or it can not be read. Source: RFC 9110 §10.2.3.
 * @param nowMs since 1970
 */
export function parseRetryAfter(header: string | null, nowMs: number): number {
  if (header === null) return 0
  if (/^[0-9]{1,9}$/.test(header)) return Number(header) * 1000
  const at = Date.parse(header)
  return Number.isNaN(at) ? 0 : Math.max(0, at - nowMs)
}
