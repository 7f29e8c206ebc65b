import { SharedBucket } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSlotsMemory, UploadSlots } from '../../../src/lane/upload-slots.ts'
import { createSharesMemory, UploadTurns } from '../../../src/lane/upload-turns.ts'

const MIB = 1024 * 1024
const RATE = 4 * MIB
const SECONDS = 10

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** The turns of several threads, and who sent how much with connections that always have more to send. */
function world(threadCount: number) {
  const nowNs = () => performance.now() * 1e6
  const cells = new BigInt64Array(new SharedArrayBuffer(8))
  // With salts at random, two requesters would now and then share one share.
  const slotsMemory = { ...createSlotsMemory(16, threadCount), salt: Buffer.from('none') }
  const shares = createSharesMemory()
  const sent = new Map<string, number>()
  const threads = Array.from({ length: threadCount }, (_, thread) => {
    const bucket = new SharedBucket({ cells, index: 0 }, nowNs)
    bucket.limitTo(RATE)
    const slots = new UploadSlots(slotsMemory, thread)
    return { slots, turns: new UploadTurns(bucket, slots, shares, nowNs) }
  })
  const send = (peer: string, thread: number, connections: number) => {
    const at = threads[thread]
    if (at === undefined) throw new Error('there is no such thread')
    const requester = at.slots.requesterOf(peer)
    for (let i = 0; i < connections; i++) {
      at.slots.take(requester, 16)
      const bytes = at.turns.sliceBytes
      let sentMs = performance.now()
      const next = () => {
        at.turns.wait(requester, bytes, (granted) => {
          sent.set(peer, (sent.get(peer) ?? 0) + granted)
          longestWaitMs = Math.max(longestWaitMs, performance.now() - sentMs)
          sentMs = performance.now()
          next()
        })
      }
      next()
    }
  }
  let longestWaitMs = 0
  const run = () => {
    const before = new Map(sent)
    vi.advanceTimersByTime(SECONDS * 1000)
    const gained = (peer: string) => ((sent.get(peer) ?? 0) - (before.get(peer) ?? 0)) / (SECONDS * RATE)
    return { greedy: gained('greedy'), modest: gained('modest'), other: gained('other') }
  }
  return { send, run, longestWaitMs: () => longestWaitMs }
}

describe('upload turns', () => {
  it('give the whole limit to one alone, over all threads', () => {
    const { send, run } = world(2)
    send('greedy', 0, 4)
    send('greedy', 1, 4)
    const { greedy } = run()
    expect(greedy).toBeGreaterThan(0.95)
    expect(greedy).toBeLessThan(1.05)
  })

  it('have nobody wait long without a sign of life, however many there are', () => {
    const { send, run, longestWaitMs } = world(2)
    for (const thread of [0, 1]) send('greedy', thread, 32)
    expect(run().greedy).toBeLessThan(1.05)
    expect(longestWaitMs()).toBeGreaterThan(200)
    expect(longestWaitMs()).toBeLessThan(350)
  })

  it('share it by requester, not by connection or thread', () => {
    const { send, run } = world(4)
    for (const thread of [0, 1, 2, 3]) send('greedy', thread, 2)
    run()
    send('modest', 1, 1)
    const two = run()
    expect(two.modest).toBeGreaterThan(0.45)
    expect(two.greedy).toBeGreaterThan(0.4)
    expect(two.modest + two.greedy).toBeGreaterThan(0.95)
    expect(two.modest + two.greedy).toBeLessThan(1.05)
    send('other', 3, 1)
    const three = run()
    for (const share of Object.values(three)) expect(share).toBeGreaterThan(0.28)
    expect(three.modest + three.greedy + three.other).toBeLessThan(1.05)
  })
})
