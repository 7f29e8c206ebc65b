import Fastify from 'fastify'
import { Registry } from 'prom-client'
import { describe, expect, it } from 'vitest'
import { createLimitsMetrics } from '../../../src/limits/metrics.ts'
import { NodeLimits } from '../../../src/limits/node-limits.ts'
import { type Limits, NO_LIMITS, transfersUnder } from '../../../src/limits/options.ts'
import { addLimitsRoutes } from '../../../src/limits/routes.ts'
import { ThreadLimits } from '../../../src/limits/thread-limits.ts'

const url = '/api/v1/limits'
const LIMITS: Limits = { uploadBytesPerSecond: 1_000_000, downloadBytesPerSecond: 65_536, originBytesPerSecond: 0 }

describe('limits', () => {
  it('are read and replaced at run time, and told to all', async () => {
    const limits = new NodeLimits()
    const registry = new Registry()
    createLimitsMetrics(registry, () => limits.current)
    const told: Limits[] = []
    limits.follow((changed) => told.push(changed))
    const server = Fastify()
    addLimitsRoutes(server, limits)
    expect((await server.inject({ url })).json()).toEqual(NO_LIMITS)
    const changed = await server.inject({ url, method: 'PUT', payload: LIMITS })
    expect(changed.statusCode).toBe(200)
    expect(changed.json()).toEqual(LIMITS)
    expect((await server.inject({ url })).json()).toEqual(LIMITS)
    expect(told).toEqual([LIMITS])
    expect(limits.own.upload.bytesPerSecond).toBe(1_000_000)
    const metric = await registry.getSingleMetric('shoal_node_limit_bytes_per_second')?.get()
    expect(metric?.values.map(({ labels, value }) => [labels.traffic, value])).toEqual([
      ['upload', 1_000_000],
      ['download', 65_536],
      ['origin', 0],
    ])
  })

  it.each([
    [{}, 'uploadBytesPerSecond'],
    [[], 'the limits'],
    [{ ...LIMITS, more: 1 }, 'unknown key'],
    [{ ...LIMITS, uploadBytesPerSecond: '1000000' }, 'uploadBytesPerSecond'],
    [{ ...LIMITS, uploadBytesPerSecond: -1 }, 'uploadBytesPerSecond'],
    [{ ...LIMITS, uploadBytesPerSecond: 1e6 + 0.5 }, 'uploadBytesPerSecond'],
    [{ ...LIMITS, uploadBytesPerSecond: 1e300 }, 'uploadBytesPerSecond'],
    [{ ...LIMITS, originBytesPerSecond: 65_535 }, 'limits.originBytesPerSecond (65535) is too low'],
  ])('that are none are refused: %j', async (payload, why) => {
    const limits = new NodeLimits()
    const server = Fastify()
    addLimitsRoutes(server, limits)
    const refused = await server.inject({ url, method: 'PUT', payload })
    expect(refused.statusCode).toBe(400)
    expect(refused.json().message).toContain(why)
    expect(limits.current).toEqual(NO_LIMITS)
  })

  it('are refused at the start when they are too low', () => {
    const start = () => new NodeLimits({ ...NO_LIMITS, downloadBytesPerSecond: 1000 })
    expect(start).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })

  it('forgive debt when they change, to all threads', () => {
    const limits = new NodeLimits(LIMITS)
    const thread = new ThreadLimits(limits.memory)
    thread.apply(LIMITS)
    thread.download.charge(100 * 65_536)
    expect(limits.isHoldingBack).toBe(true)
    limits.change({ ...LIMITS, uploadBytesPerSecond: 0 })
    expect(limits.isHoldingBack).toBe(true)
    limits.change({ ...LIMITS, downloadBytesPerSecond: 1_000_000 })
    expect(limits.isHoldingBack).toBe(false)
    expect(thread.download.debtNs()).toBe(0)
  })

  it('are shared by few transfers when they are low', () => {
    expect(transfersUnder(0)).toBe(Number.POSITIVE_INFINITY)
    expect(transfersUnder(65_536)).toBe(1)
    expect(transfersUnder(10 * 1024 * 1024)).toBe(10)
  })
})
