import { Counter, Gauge, type Registry } from 'prom-client'
import { type CountsReader, DIRECTIONS, LANE_OUTCOMES, type LaneOutcome } from './shared-counts.ts'

/** Metrics of the lane; `follow` says where the numbers are. */
export interface LaneMetrics {
  /** Reports `counts` from now on. */
  follow(counts: CountsReader): void
}

/** The lane's metrics. The worker threads count in shared memory; it is read when somebody scrapes. */
export function createLaneMetrics(registry: Registry): LaneMetrics {
  let counts: CountsReader | undefined
  const registers = [registry]

  new Counter({
    name: 'shoal_lane_bytes_total',
    help: 'Bytes of pieces sent to and received from other nodes',
    labelNames: ['direction'],
    registers,
    collect() {
      this.reset()
      for (const direction of DIRECTIONS) this.inc({ direction }, counts?.bytes(direction) ?? 0)
    },
  })
  new Counter({
    name: 'shoal_lane_requests_total',
    help: 'Piece requests that ended, by the way the piece goes and how they ended',
    labelNames: ['direction', 'outcome'],
    registers,
    collect() {
      this.reset()
      for (const direction of DIRECTIONS) {
        for (const outcome of LANE_OUTCOMES) {
          this.inc({ direction, outcome: labelOf(outcome) }, counts?.requests(direction, outcome) ?? 0)
        }
      }
    },
  })
  new Gauge({
    name: 'shoal_lane_connections',
    help: 'Open lane connections, by the way the pieces go',
    labelNames: ['direction'],
    registers,
    collect() {
      for (const direction of DIRECTIONS) this.set({ direction }, counts?.openConnections(direction) ?? 0)
    },
  })
  return {
    follow(next) {
      counts = next
    },
  }
}

function labelOf(outcome: LaneOutcome): string {
  return outcome === 'notHeld' ? 'not_held' : outcome
}
