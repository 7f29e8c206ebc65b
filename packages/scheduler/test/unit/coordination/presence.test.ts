import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Presence } from '../../../src/coordination/presence.ts'

describe('how long a scheduler has been there', () => {
  let stoppedMs: number
  let presence: Presence

  beforeEach(() => {
    vi.useFakeTimers()
    stoppedMs = 0
    const startedMs = Date.now()
    presence = new Presence(() => Date.now() - startedMs + stoppedMs)
  })
  afterEach(() => {
    presence.stop()
    vi.useRealTimers()
  })

  it('counts from its start', () => {
    expect(presence.ms).toBe(0)
    vi.advanceTimersByTime(60_000)
    expect(presence.ms).toBe(60_000)
  })

  it('counts anew when it stood still, before anything else is noticed', () => {
    vi.advanceTimersByTime(10_000)
    stoppedMs += 1999
    expect(presence.ms).toBe(11_999)
    stoppedMs += 2000
    expect(presence.ms).toBe(0)
    vi.advanceTimersByTime(3000)
    expect(presence.ms).toBe(3000)
  })

  it('counts anew when the last node went', () => {
    vi.advanceTimersByTime(10_000)
    presence.deserted()
    expect(presence.ms).toBe(0)
  })
})
