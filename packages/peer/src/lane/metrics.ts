import { Counter, Gauge, type Registry } from 'prom-client'
import {
  type CountsReader,
  DIRECTIONS,
  type Direction,
  LANE_OUTCOMES,
  type LaneOutcome,
  TRANSPORTS,
  type Transport,
} from './shared-counts.ts'

const WAYS: readonly { readonly direction: Direction; readonly transport: Transport }[] = DIRECTIONS.flatMap(
  (direction) => TRANSPORTS.map((transport) => ({ direction, transport })),
)

/** Metrics of the lane; `follow` says where the numbers are. */
export interface LaneMetrics {
  /**
   * Reports `counts` from now on.
   * @param unreachable parents whose lane is taken to be unreachable just now
   */
  follow(counts: CountsReader, unreachable: () => number): void
}

/** The lane's metrics. The worker threads count in shared memory; it is read when somebody scrapes. */
export function createLaneMetrics(registry: Registry): LaneMetrics {
  let counts: CountsReader | undefined
  let unreachable = () => 0
  const registers = [registry]

  new Counter({
    name: 'shoal_lane_bytes_total',
    help: 'Bytes of pieces sent to and received from other nodes, by what carries them: tls or libp2p',
    labelNames: ['direction', 'transport'],
    registers,
    collect() {
      this.reset()
      for (const way of WAYS) this.inc({ ...way }, counts?.bytes(way.direction, way.transport) ?? 0)
    },
  })
  new Counter({
    name: 'shoal_lane_requests_total',
    help: 'Piece requests that ended, by the way the piece goes, what carries it, and how they ended',
    labelNames: ['direction', 'transport', 'outcome'],
    registers,
    collect() {
      this.reset()
      for (const way of WAYS) {
        for (const outcome of LANE_OUTCOMES) {
          const ended = counts?.requests(way.direction, outcome, way.transport) ?? 0
          this.inc({ ...way, outcome: labelOf(outcome) }, ended)
        }
      }
    },
  })
  new Gauge({
    name: 'shoal_lane_connections',
    help: 'Open lane connections, by the way the pieces go and what carries them',
    labelNames: ['direction', 'transport'],
    registers,
    collect() {
      for (const way of WAYS) this.set({ ...way }, counts?.openConnections(way.direction, way.transport) ?? 0)
    },
  })
  new Gauge({
    name: 'shoal_lane_unreachable_nodes',
    help: 'Nodes whose lane port is not reached, though libp2p reaches them: their pieces go over libp2p',
    registers,
    collect() {
      this.set(unreachable())
    },
  })
  return {
    follow(next, count) {
      counts = next
      unreachable = count
    },
  }
}

function labelOf(outcome: LaneOutcome): string {
  return outcome.replace(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`)
}
