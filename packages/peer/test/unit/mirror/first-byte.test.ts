import { createLogger } from '@shoal/core'
import { OriginError } from '@shoal/origin'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FirstByte, firstByteStep } from '../../../src/mirror/first-byte.ts'

const T = 5000
const wish = { upstream: { registry: 'r', repository: 'a' }, digest: 'sha256:d', authorization: undefined }
const never = new AbortController().signal

describe('the rule of the first byte', () => {
  const step = (nowMs: number, movedMs: number, askedMs?: number) => firstByteStep({ nowMs, movedMs, askedMs }, T)

  it('waits, asks the origin at half time, and gives up at its end', () => {
    expect(step(1000, 1000)).toEqual({ step: 'wait', lookMs: 3500 })
    expect(step(3500, 1000)).toEqual({ step: 'ask', lookMs: 6000 })
    expect(step(5999, 1000, 3500)).toEqual({ step: 'wait', lookMs: 6000 })
    expect(step(6000, 1000, 3500)).toEqual({ step: 'give_up', lookMs: 6000 })
  })

  it('gives the origin its time also when it is asked late', () => {
    expect(step(20_000, 1000)).toEqual({ step: 'ask', lookMs: 22_500 })
    expect(step(22_499, 1000, 20_000).step).toBe('wait')
    expect(step(22_500, 1000, 20_000).step).toBe('give_up')
  })

  it('never gives up before the whole time without a move, nor without having asked, and always looks ahead', () => {
    const ms = fc.integer({ min: 0, max: 100_000 })
    fc.assert(
      fc.property(ms, ms, fc.option(ms, { nil: undefined }), (movedMs, quietMs, sinceAskedMs) => {
        const nowMs = movedMs + quietMs
        const askedMs = sinceAskedMs === undefined ? undefined : Math.max(movedMs, nowMs - sinceAskedMs)
        const { step, lookMs } = firstByteStep({ nowMs, movedMs, askedMs }, T)
        if (step === 'give_up') expect(quietMs >= T && askedMs !== undefined && nowMs - askedMs >= T / 2).toBe(true)
        else expect(lookMs).toBeGreaterThan(nowMs)
      }),
    )
  })
})

describe('a client that waits for its first byte', () => {
  let nowMs: number
  let movedMs: number | undefined
  let asked: number[]
  let answer: (signal: AbortSignal) => Promise<void>
  let firstByte: FirstByte
  const silent = (signal: AbortSignal) =>
    new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    nowMs = 1000
    movedMs = undefined
    asked = []
    answer = silent
    firstByte = new FirstByte(T, {
      movedMs: () => movedMs,
      askOrigin: (_wish, signal) => {
        asked.push(nowMs)
        return answer(signal)
      },
      log: createLogger('test', 'silent'),
      now: () => nowMs,
    })
  })
  afterEach(() => {
    vi.useRealTimers()
  })
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 100) {
      nowMs += 100
      await vi.advanceTimersByTimeAsync(100)
    }
  }
  /** A wait for a byte that does not come, and how it ended. */
  const wait = () => {
    const state: { ended?: unknown; signal?: AbortSignal } = {}
    const work = (signal: AbortSignal) => {
      state.signal = signal
      return silent(signal)
    }
    firstByte.within(wish, nowMs, never, work).catch((error: unknown) => {
      state.ended = error
    })
    return state
  }

  it('is told the truth in time when neither anything moves nor the origin answers', async () => {
    const waiting = wait()
    await pass(4900)
    expect([asked, waiting.ended, waiting.signal?.aborted]).toEqual([[3500], undefined, false])
    await pass(100)
    expect(waiting.ended).toMatchObject({ code: 'STALLED' })
    expect(waiting.signal?.aborted).toBe(true)
  })

  it('waits on while bytes of its blob come, and asks nobody', async () => {
    const waiting = wait()
    for (let second = 0; second < 20; second++) {
      movedMs = nowMs
      await pass(1000)
    }
    expect([asked, waiting.ended]).toEqual([[], undefined])
    await pass(5000)
    expect(waiting.ended).toMatchObject({ code: 'STALLED' })
  })

  it('waits on while the origin answers, and asks it less and less often', async () => {
    answer = async () => {}
    const waiting = wait()
    await pass(40_000)
    expect(waiting.ended).toBeUndefined()
    expect(asked).toEqual([3500, 6000, 13_500, 31_000])
  })

  it('is told what the origin says when it refuses', async () => {
    answer = async () => {
      throw new OriginError('NOT_FOUND', 'there is none')
    }
    const waiting = wait()
    await pass(4900)
    expect(waiting.ended).toBeUndefined()
    await pass(100)
    expect(waiting.ended).toMatchObject({ code: 'NOT_FOUND' })
  })

  it('gets its byte, or what failed, and nothing is asked any more', async () => {
    expect(await firstByte.within(wish, nowMs, never, async () => 'byte')).toBe('byte')
    const failing = firstByte.within(wish, nowMs, never, async () => Promise.reject(new Error('disk')))
    await expect(failing).rejects.toThrow('disk')
    await pass(10_000)
    expect(asked).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('is forgotten when it leaves', async () => {
    const leaving = new AbortController()
    const waiting = firstByte.within(wish, nowMs, leaving.signal, silent)
    waiting.catch(() => {})
    await pass(3000)
    leaving.abort(new Error('left'))
    await expect(waiting).rejects.toThrow('left')
    expect(vi.getTimerCount()).toBe(0)
  })
})
