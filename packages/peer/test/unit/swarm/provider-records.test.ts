import { createLogger } from '@shoal/core'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSwarmMetrics } from '../../../src/swarm/metrics.ts'
import { ProviderRecords } from '../../../src/swarm/provider-records.ts'

describe('ProviderRecords', () => {
  let hasScheduler = true
  let hasNeighbour = true
  let refusals = 0
  const told: string[] = []
  let records: ProviderRecords
  const make = () =>
    new ProviderRecords({
      put: async (digest) => {
        if (refusals > 0) {
          refusals--
          throw new Error('nobody took it')
        }
        told.push(digest)
      },
      hasNeighbour: () => hasNeighbour,
      hasScheduler: () => hasScheduler,
      metrics: createSwarmMetrics(
        new Registry(),
        () => 0,
        () => 0,
      ),
      log: createLogger('test', 'silent'),
      now: () => Date.now(),
      pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      random: () => 0,
    })

  beforeEach(() => {
    vi.useFakeTimers()
    hasScheduler = true
    hasNeighbour = true
    refusals = 0
    told.length = 0
    records = make()
    records.start()
  })
  afterEach(() => {
    records.stop()
    vi.useRealTimers()
  })

  it('tells at once where there is no scheduler, and of each blob once', async () => {
    hasScheduler = false
    for (let times = 0; times < 2; times++) records.add('a', true)
    await vi.advanceTimersByTimeAsync(1)
    expect(told).toEqual(['a'])
    records.add('a', false)
    hasScheduler = true
    records.add('a', true)
    await vi.advanceTimersByTimeAsync(200_000)
    expect(told).toEqual(['a'])
  })

  it('lets records wait while there is a scheduler, in their order, those of who has a blob first for less long', async () => {
    records.add('a', false)
    await vi.advanceTimersByTimeAsync(5_000)
    records.add('b', false)
    records.add('c', true)
    records.add('c', false)
    records.add('a', false)
    await vi.advanceTimersByTimeAsync(7_000)
    expect(told).toEqual([])
    await vi.advanceTimersByTimeAsync(2_000)
    expect(told).toEqual(['c'])
    await vi.advanceTimersByTimeAsync(45_000)
    expect(told).toEqual(['c'])
    await vi.advanceTimersByTimeAsync(2_000)
    expect(told).toEqual(['c', 'a'])
    await vi.advanceTimersByTimeAsync(10_000)
    expect(told).toEqual(['c', 'a', 'b'])
  })

  it('tells of all when the scheduler is gone, and lets none wait while there is none', async () => {
    records.add('a', true)
    records.add('b', false)
    hasScheduler = false
    await vi.advanceTimersByTimeAsync(300)
    expect(told).toEqual(['a', 'b'])
    records.add('c', false)
    await vi.advanceTimersByTimeAsync(1)
    expect(told).toEqual(['a', 'b', 'c'])
  })

  it('waits for less long when this node turns out to be the first', async () => {
    records.add('a', false)
    records.add('a', true)
    await vi.advanceTimersByTimeAsync(9_000)
    expect(told).toEqual(['a'])
  })

  it('tries again when nobody is there, or nobody takes the record', async () => {
    hasScheduler = false
    hasNeighbour = false
    records.add('a', true)
    await vi.advanceTimersByTimeAsync(500)
    hasNeighbour = true
    refusals = 1
    await vi.advanceTimersByTimeAsync(1000)
    expect(told).toEqual([])
    await vi.advanceTimersByTimeAsync(2000)
    expect(told).toEqual(['a'])
  })

  it('tells of thousands of blobs a few a second, after an image’s worth at once', async () => {
    hasScheduler = false
    for (let blob = 0; blob < 100; blob++) records.add(`blob ${blob}`, true)
    await vi.advanceTimersByTimeAsync(100)
    const atOnce = told.length
    expect(atOnce).toBeGreaterThanOrEqual(31)
    expect(atOnce).toBeLessThanOrEqual(33)
    await vi.advanceTimersByTimeAsync(5000)
    expect(told.length - atOnce).toBe(20)
  })

  it('stops', async () => {
    records.add('a', false)
    records.add('b', true)
    records.stop()
    hasScheduler = false
    await vi.advanceTimersByTimeAsync(100_000)
    expect(told).toEqual([])
  })
})
