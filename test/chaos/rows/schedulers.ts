import { killAndRestart } from '../kill.ts'
import { ownerAmong } from '../moments.ts'
import type { Row } from '../row.ts'

/** What the loss of the scheduler may cost a pull. */
const MOST_LOST_SECONDS = 3

/** Faults of schedulers. */
export const SCHEDULER_ROWS: readonly Row[] = [
  {
    name: 'scheduler-killed',
    fault: 'the only scheduler is killed when half of the blob has arrived',
    mostLostSeconds: MOST_LOST_SECONDS,
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.5)
      for (const { process } of cluster.schedulers) process.signal('SIGKILL')
      return {}
    },
  },
  {
    name: 'scheduler-stopped',
    fault: 'the only scheduler stands still (SIGSTOP) from the half on, and never goes on',
    mostLostSeconds: MOST_LOST_SECONDS,
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.5)
      for (const { process } of cluster.schedulers) process.signal('SIGSTOP')
      return {}
    },
  },
  {
    name: 'scheduler-absent',
    fault: 'no scheduler ever ran; nodes know each other by libp2p.bootstrap',
    schedulers: 0,
    strike: async () => ({}),
  },
  {
    name: 'scheduler-restarted',
    fault: 'the only scheduler is killed when a third has arrived, and started again at once',
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.3)
      await Promise.all(cluster.schedulers.map(killAndRestart))
      return {}
    },
  },
  {
    name: 'one-of-two-schedulers',
    fault: 'of two schedulers, the one that the blob belongs to is killed when half has arrived',
    schedulers: 2,
    strike: async ({ cluster, digest, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.5)
      const owner = await ownerAmong(cluster.schedulers, digest)
      owner.process.signal('SIGKILL')
      return {}
    },
  },
]
