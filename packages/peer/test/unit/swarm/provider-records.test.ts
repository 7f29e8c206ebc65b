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
      metrics: createSwarmMetrics(new Registry(), () => 0),
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

  it('tells at once of what nobody else told of, and each blob once', async () => {
    for (let times = 0; times < 2; times++) records.add('a', false)
    await vi.advanceTimersByTimeAsync(1000)
    records.add('a', true)
    await vi.advanceTimersByTimeAsync(200_000)
    expect(told).toEqual(['a'])
  })

  it('lets other records wait while there is a scheduler, in their order', async () => {
    records.add('a', true)
    await vi.advanceTimersByTimeAsync(10_000)
    records.add('b', true)
    records.add('a', true)
    await vi.advanceTimersByTimeAsync(49_000)
    expect(told).toEqual([])
    await vi.advanceTimersByTimeAsync(2000)
    expect(told).toEqual(['a'])
    await vi.advanceTimersByTimeAsync(10_000)
    expect(told).toEqual(['a', 'b'])
  })

  it('tells of all when the scheduler is gone, and lets none wait while there is none', async () => {
    records.add('a', true)
    records.add('b', true)
    hasScheduler = false
    await vi.advanceTimersByTimeAsync(300)
    expect(told).toEqual(['a', 'b'])
    records.add('c', true)
    await vi.advanceTimersByTimeAsync(1)
    expect(told).toEqual(['a', 'b', 'c'])
  })

  it('does not wait any longer when this node turns out to be the first', async () => {
    records.add('a', true)
    records.add('a', false)
    await vi.advanceTimersByTimeAsync(1)
    expect(told).toEqual(['a'])
  })

  it('tries again when nobody is there, or nobody takes the record', async () => {
    hasNeighbour = false
    records.add('a', false)
    await vi.advanceTimersByTimeAsync(500)
    hasNeighbour = true
    refusals = 1
    await vi.advanceTimersByTimeAsync(1000)
    expect(told).toEqual([])
    await vi.advanceTimersByTimeAsync(2000)
    expect(told).toEqual(['a'])
  })

  it('tells of thousands of blobs a few a second, after an image’s worth at once', async () => {
    for (let blob = 0; blob < 100; blob++) records.add(`blob ${blob}`, false)
    await vi.advanceTimersByTimeAsync(100)
    const atOnce = told.length
    expect(atOnce).toBeGreaterThanOrEqual(31)
    expect(atOnce).toBeLessThanOrEqual(33)
    await vi.advanceTimersByTimeAsync(5000)
    expect(told.length - atOnce).toBe(20)
  })

  it('stops', async () => {
    records.add('a', true)
    records.add('b', false)
    records.stop()
    hasScheduler = false
    await vi.advanceTimersByTimeAsync(100_000)
    expect(told).toEqual([])
  })
})
