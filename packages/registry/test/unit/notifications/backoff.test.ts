import { expect, it } from 'vitest'
import { parseRetryAfter, retryDelayMs } from '../../../src/notifications/backoff.ts'

const delay = (inARow: number, retryAfterMs = 0, random = 0) =>
  retryDelayMs({ inARow, thresholdFailures: 3, backoffMs: 1000, retryAfterMs }, random)

it('doubles the pause after the threshold, up to five minutes, and leaves out up to half', () => {
  expect([1, 3, 4, 5, 6].map((inARow) => delay(inARow))).toEqual([1000, 1000, 2000, 4000, 8000])
  expect(delay(5000)).toBe(300_000)
  expect(delay(3, 0, 0.5)).toBe(750)
})

it('waits at least as long as it is asked to, and never more than an hour', () => {
  expect(delay(1, 60_000, 0.9)).toBe(60_000)
  expect(delay(1, 10 * 3_600_000)).toBe(3_600_000)
})

it.each([
  [null, 0],
  ['30', 30_000],
  ['Thu, 01 Jan 1970 00:01:00 GMT', 59_000],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['soon', 0],
])('reads Retry-After %j', (header, expected) => {
  expect(parseRetryAfter(header, 1000)).toBe(expected)
})
