import { Counter, Gauge, type Registry } from 'prom-client'
import type { Coordinator } from '../coordination/coordinator.ts'

/** Metrics of what flows, read when they are asked for. */
export function observeTraffic(registry: Registry, coordinator: Coordinator): void {
  const { core, traffic } = coordinator
  const registers = [registry]
  new Counter({
    name: 'shoal_scheduler_cross_zone_bytes_total',
    help: 'Bytes of pieces that came from a node of another zone',
    registers,
    collect() {
      this.reset()
      this.inc(traffic.crossZoneBytes)
    },
  })
  new Gauge({
    name: 'shoal_scheduler_bytes_per_second',
    help: 'Bytes per second over the last seconds that nodes received, from each other and from origins',
    registers,
    collect() {
      this.set(traffic.bytesPerSecond)
    },
  })
  new Gauge({
    name: 'shoal_scheduler_zones',
    help: 'Zones that connected nodes name',
    registers,
    collect() {
      this.set(traffic.zones.live)
    },
  })
  new Gauge({
    name: 'shoal_scheduler_transfers_in_flight',
    help: 'Assigned pieces of which nothing was heard yet',
    registers,
    collect() {
      let downloads = 0
      for (const node of core.nodes()) downloads += node.downloads
      this.set(downloads)
    },
  })
  new Gauge({
    name: 'shoal_scheduler_origin_copies',
    help: 'Bytes that came from the origin over the size of the blob, over all remembered swarms',
    labelNames: ['stat'],
    registers,
    collect() {
      let [sum, max] = [0, 0]
      for (const { bytes, layout } of core.swarms.values()) {
        const copies = bytes.origin / layout.size
        sum += copies
        max = Math.max(max, copies)
      }
      this.set({ stat: 'mean' }, sum / Math.max(1, core.swarms.size))
      this.set({ stat: 'max' }, max)
    },
  })
  new Gauge({
    name: 'shoal_scheduler_blocked_streams',
    help: 'Nodes that do not keep up with reading what they are told',
    registers,
    collect() {
      this.set(coordinator.sessions.reduce((blocked, session) => blocked + Number(session.isBlocked), 0))
    },
  })
}
