import { Gauge, type Registry } from 'prom-client'

/** Metrics of the way to the schedulers. */
export function createCoordinatorMetrics(registry: Registry, connected: () => number): void {
  new Gauge({
    name: 'shoal_node_connected_schedulers',
    help: 'Schedulers that the node has a stream to',
    registers: [registry],
    collect() {
      this.set(connected())
    },
  })
}
