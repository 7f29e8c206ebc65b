import type { Row } from '../row.ts'

const DAY_SECONDS = 86_400

/** Faults of wall clocks. */
export const CLOCK_ROWS: readonly Row[] = [
  {
    name: 'clocks-stepped',
    fault: 'when half has arrived, the clocks of scheduler and of every second peer go a day on, all others a day back',
    hasOwnClocks: true,
    strike: async ({ cluster, clocks, untilHeld }) => {
      const { nodes, registry, schedulers, seed } = cluster
      await untilHeld(nodes, 0.5)
      const on = [...schedulers, ...nodes.filter((_, node) => node % 2 === 0)]
      const all = [...nodes, seed, registry, ...schedulers]
      await Promise.all(all.map((one) => clocks?.step(one, on.includes(one) ? DAY_SECONDS : -DAY_SECONDS)))
      return {}
    },
  },
]
