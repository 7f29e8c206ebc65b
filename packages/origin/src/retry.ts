import { pause } from '@shoal/core'
import { abortedError, OriginError, type Subject, statusError } from './errors.ts'
import type { RateHold } from './rate-holds.ts'

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
/**
 * All the waiting between the tries of one call, unless it says otherwise. Less than clients wait for a first byte:
 * whoever can not be helped by then is told, with the origin's `Retry-After`, and has time left to go elsewhere.
 */
export const MAX_WAIT_MS = 4_000

/** How often something was tried in vain. */
export interface RetryState {
  /** Broken connections, 5xx. */
  readonly failures: number
  /** 429 and 503. */
  readonly throttles: number
  /** Milliseconds that may still be spent waiting. */
  readonly waitLeftMs: number
}

/** How one call is tried. */
export interface RetryContext {
  readonly subject: Subject
  readonly signal: AbortSignal
  /** All the waiting between tries, in milliseconds. */
  readonly maxWaitMs: number
  /** Shared by all calls with the same account. */
  readonly hold: RateHold
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly onRetry: (error: OriginError, delayMs: number) => void
}

/**
 * How long to wait before asking again after `error`; undefined when asking again is no use. An origin that said when
 * to come back is taken at its word, and left alone when the wait is longer than may be spent; otherwise exponential
 * back-off with full jitter on its upper half.
 */
export function retryDelayMs(error: unknown, state: RetryState, random: () => number): number | undefined {
  if (!(error instanceof OriginError) || error.data.isRetryable === false) return undefined
  if (error.code !== 'RATE_LIMITED' && error.code !== 'UNAVAILABLE') return undefined
  const isThrottle = isThrottled(error)
  const count = isThrottle ? state.throttles : state.failures
  if (count >= (isThrottle ? MAX_THROTTLE_RETRIES : MAX_FAILURE_RETRIES)) return undefined
  const backOffMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** count)
  const delayMs = error.retryAfterMs ?? backOffMs / 2 + (backOffMs / 2) * random()
  return delayMs <= state.waitLeftMs ? delayMs : undefined
}

/**
 * Runs `attempt` until it succeeds, fails for good, or `signal` aborts. While the registry wants to be left alone, as it
 * told this call or another one, nothing is sent: a short wait is waited for, a longer one thrown as `RATE_LIMITED`.
 */
export async function withRetries<T>(
  attempt: () => Promise<T>,
  context: RetryContext,
  dependencies: RetryDependencies,
): Promise<T> {
  const { subject, signal, hold, now } = context
  let state: RetryState = { failures: 0, throttles: 0, waitLeftMs: context.maxWaitMs }
  /** What this call has waited for counts as over, whatever the clock says. */
  let waitedUntilMs = 0
  const wait = async (ms: number) => {
    state = { ...state, waitLeftMs: state.waitLeftMs - ms }
    waitedUntilMs = now() + ms
    await dependencies.sleep(ms, signal)
  }
  for (;;) {
    if (signal.aborted) throw abortedError(subject, signal.reason)
    const heldUntilMs = hold.until()
    const heldMs = heldUntilMs - now()
    if (heldMs > 0 && heldUntilMs > Math.ceil(waitedUntilMs)) {
      if (heldMs > state.waitLeftMs) throw statusError(subject, 429, { retryAfterMs: heldMs })
      await wait(heldMs)
      continue
    }
    try {
      return await attempt()
    } catch (error) {
      const delayMs = retryDelayMs(error, state, dependencies.random)
      if (!(error instanceof OriginError)) throw error
      const restMs = error.retryAfterMs ?? delayMs
      if (error.code === 'RATE_LIMITED' && error.data.isElsewhere !== true && restMs !== undefined) {
        hold.set(now() + restMs)
      }
      if (delayMs === undefined) throw error
      state = isThrottled(error)
        ? { ...state, throttles: state.throttles + 1 }
        : { ...state, failures: state.failures + 1 }
      context.onRetry(error, delayMs)
      await wait(delayMs)
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
