import { setTimeout as delay } from 'node:timers/promises'
import type { Row } from '../row.ts'

const ORIGIN_STALL_MS = 5000

/** Faults of the registry that all is fetched from. */
export const ORIGIN_ROWS: readonly Row[] = [
  {
    name: 'origin-stalled',
    fault: `the registry stands still for ${ORIGIN_STALL_MS / 1000} s when the seed has fetched half of the blob`,
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld([cluster.seed], 0.5)
      cluster.registry.process.signal('SIGSTOP')
      await delay(ORIGIN_STALL_MS)
      cluster.registry.process.signal('SIGCONT')
      return {}
    },
  },
]
