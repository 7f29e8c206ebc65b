import { pause } from '@shoal/core'
import { abortedError, OriginError, type Subject } from './errors.ts'

/** Time and chance, injected so that tests need neither. */
export interface RetryDependencies {
  /** In [0, 1). */
  readonly random: () => number
  /** Waits `ms`; returns early when the signal aborts. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
}

/** Chance and time as they are. */
export const REAL_RETRY: RetryDependencies = { random: Math.random, sleep: pause }

const MAX_FAILURE_RETRIES = 2
const MAX_THROTTLE_RETRIES = 4
const FIRST_DELAY_MS = 250
const MAX_DELAY_MS = 8_000
/** The longest `Retry-After` that is waited for; a longer one is handed to the caller instead. */
const MAX_RETRY_AFTER_MS = 30_000

/** How often something was tried in vain. */
export interface RetryState {
  /** Broken connections, 5xx. */
  readonly failures: number
  /** 429 and 503. */
  readonly throttles: number
}

/**
 * How long to wait before asking again after `error`; undefined when asking again is no use. An origin that said
 * when to come back is taken at its word, or left alone when it asks for more than 30 s; otherwise exponential
 * back-off with full jitter on its upper half.
 */
export function retryDelayMs(error: unknown, state: RetryState, random: () => number): number | undefined {
  if (!(error instanceof OriginError) || error.data.isRetryable === false) return undefined
  if (error.code !== 'RATE_LIMITED' && error.code !== 'UNAVAILABLE') return undefined
  const isThrottle = isThrottled(error)
  const count = isThrottle ? state.throttles : state.failures
  if (count >= (isThrottle ? MAX_THROTTLE_RETRIES : MAX_FAILURE_RETRIES)) return undefined
  const { retryAfterMs } = error
  if (retryAfterMs !== undefined) return retryAfterMs <= MAX_RETRY_AFTER_MS ? retryAfterMs : undefined
  const delay = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** count)
  return delay / 2 + (delay / 2) * random()
}

/** Runs `attempt` until it succeeds, fails for good, or `signal` aborts. */
export async function withRetries<T>(
  attempt: () => Promise<T>,
  context: { subject: Subject; signal: AbortSignal; onRetry: (error: OriginError, delayMs: number) => void },
  dependencies: RetryDependencies,
): Promise<T> {
  let state: RetryState = { failures: 0, throttles: 0 }
  for (;;) {
    if (context.signal.aborted) throw abortedError(context.subject, context.signal.reason)
    try {
      return await attempt()
    } catch (error) {
      const delayMs = retryDelayMs(error, state, dependencies.random)
      if (delayMs === undefined || !(error instanceof OriginError)) throw error
      state = isThrottled(error)
        ? { ...state, throttles: state.throttles + 1 }
        : { ...state, failures: state.failures + 1 }
      context.onRetry(error, delayMs)
      await dependencies.sleep(delayMs, context.signal)
    }
  }
}

/** Milliseconds that a `Retry-After` header asks for (RFC 9110 §10.2.3: seconds, or a date); undefined for none. */
export function parseRetryAfter(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined
  const text = header.trim()
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000
  // Date.parse takes much that is no HTTP date; those all begin with the day's name and end in GMT.
  if (!/^[A-Z][a-z]{2,8},? .{5,30}GMT$/.test(text)) return undefined
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs)
}

function isThrottled(error: OriginError): boolean {
  return error.code === 'RATE_LIMITED' || error.data.status === 503
}
