import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Gauge, type Registry } from 'prom-client'

/**
 * How often the delay is looked at. Each look wakes the process: at the 10 ms that prom-client takes by default, that
 * was most of what an idle node did.
 */
const LOOK_MS = 50
const NS_PER_MS = 1e6
const NS_PER_S = 1e9

/** What is shown of the delays seen, by the last part of the metric's name. */
const SHOWN: Readonly<Record<string, (delay: ReturnType<typeof monitorEventLoopDelay>) => number>> = {
  min: (delay) => delay.min,
  max: (delay) => delay.max,
  mean: (delay) => delay.mean,
  p50: (delay) => delay.percentile(50),
  p90: (delay) => delay.percentile(90),
  p99: (delay) => delay.percentile(99),
}

/**
 * How long what was due had to wait for its turn on the event loop, by prom-client's names, which it takes over in
 * `registry`; each scrape shows what was seen since the one before. Node's monitor, and so prom-client, counts the time
 * between two looks in; here it is taken off.
 */
export function createEventLoopMetrics(registry: Registry): void {
  const delay = monitorEventLoopDelay({ resolution: LOOK_MS })
  delay.enable()
  // The look is in each of its values, but not in how they spread.
  registry.removeSingleMetric('nodejs_eventloop_lag_stddev_seconds')
  const gauges = Object.entries(SHOWN).map(([name, shown], i) => {
    const metric = `nodejs_eventloop_lag_${name}_seconds`
    registry.removeSingleMetric(metric)
    const gauge: Gauge = new Gauge({
      name: metric,
      help: `Delay of the event loop since the last scrape: ${name}`,
      registers: [registry],
      // Metrics are collected in the order of registration: the first one looks for all.
      ...(i === 0 ? { collect: () => look() } : {}),
    })
    return { gauge, shown }
  })
  const look = (): void => {
    for (const { gauge, shown } of gauges) {
      const ns = delay.count === 0 ? 0 : shown(delay) - LOOK_MS * NS_PER_MS
      gauge.set(Math.max(0, ns) / NS_PER_S)
    }
    delay.reset()
  }
}
