import { Gauge, type Registry } from 'prom-client'
import type { Limits } from './options.ts'

/** The metric of the limits; `current` says what is in force when somebody scrapes. */
export function createLimitsMetrics(registry: Registry, current: () => Limits): void {
  new Gauge({
    name: 'shoal_node_limit_bytes_per_second',
    help: 'Rate limits in force, by what they limit; 0 is no limit',
    labelNames: ['traffic'] as const,
    registers: [registry],
    collect() {
      const { uploadBytesPerSecond, downloadBytesPerSecond, originBytesPerSecond } = current()
      this.set({ traffic: 'upload' }, uploadBytesPerSecond)
      this.set({ traffic: 'download' }, downloadBytesPerSecond)
      this.set({ traffic: 'origin' }, originBytesPerSecond)
    },
  })
}
