import { setTimeout as delay } from 'node:timers/promises'
import type { Registry } from 'prom-client'
import { expect, test } from 'vitest'
import { createMetricsRegistry } from '../../../src/service/index.ts'

async function shown(registry: Registry, name: string): Promise<number> {
  const text = await registry.metrics()
  return Number(new RegExp(`^nodejs_eventloop_lag_${name}_seconds (\\S+)$`, 'm').exec(text)?.[1])
}

/** Keeps the event loop from turning. */
function block(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

test('a blocked event loop is seen at its length, once, and the time between two looks is not counted', async () => {
  const registry = createMetricsRegistry()
  await delay(300)
  block(400)
  await delay(100)
  const blocked = await shown(registry, 'max')
  expect(blocked).toBeGreaterThan(0.3)
  await delay(300)
  expect(await shown(registry, 'min')).toBeLessThan(0.04)
  expect(await shown(registry, 'max')).toBeLessThan(blocked)
})

test('the names are those of prom-client', async () => {
  const text = await createMetricsRegistry().metrics()
  for (const name of ['min', 'max', 'mean', 'p50', 'p90', 'p99']) {
    expect(text).toMatch(new RegExp(`^nodejs_eventloop_lag_${name}_seconds \\S+$`, 'm'))
  }
})
