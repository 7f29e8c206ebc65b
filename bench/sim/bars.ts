import type { Scenario } from './scenario.ts'
import type { Result } from './tally.ts'

/** What a figure of a scenario must reach. */
export interface Bar {
  readonly figure: string
  readonly of: (result: Result) => number
  readonly atLeast?: number
  readonly atMost?: number
}

/** A scenario, and what is asked of it. */
export interface Trial {
  readonly name: string
  readonly scenario: Omit<Scenario, 'seed'>
  readonly bars: readonly Bar[]
}

export const ORDINARY: Omit<Scenario, 'seed' | 'nodes' | 'pieces'> = {
  arrival: 'flash',
  slow: 0,
  fail: 0,
  hang: 0,
  zones: 1,
  seedRate: 1,
  latency: 0.005,
}
const MIDDLE = { ...ORDINARY, nodes: 1000, pieces: 256 }

const max = (atMost: number): Bar => ({ figure: 'max / T*', of: (result) => result.max, atMost })
const IN_ORDER: Bar = { figure: 'prefix / held', of: (result) => result.inOrder, atLeast: 0.94 }
const zones = (count: number): Trial => ({
  name: `${count} zones, 1000 nodes, 256 pieces`,
  scenario: { ...MIDDLE, zones: count },
  bars: [{ figure: 'copies across zones', of: (result) => result.crossZoneCopies, atMost: (count - 1) * 1.01 }],
})

/** The bar that policy F is held to; each figure is the median of several seeds. */
export const TRIALS: readonly Trial[] = [
  {
    name: 'flash, 2600 nodes, 750 pieces',
    scenario: { ...ORDINARY, nodes: 2600, pieces: 750 },
    bars: [max(1.04), IN_ORDER],
  },
  { name: 'flash, 1000 nodes, 256 pieces', scenario: MIDDLE, bars: [max(1.07), IN_ORDER] },
  {
    name: 'flash, 10000 nodes, 256 pieces',
    scenario: { ...ORDINARY, nodes: 10_000, pieces: 256 },
    bars: [
      max(1.08),
      IN_ORDER,
      { figure: 'selection, ns per assignment', of: (result) => result.selectionNsPerAssignment ?? 0, atMost: 3000 },
      { figure: 'all of the core, ns per assignment', of: (result) => result.nsPerAssignment ?? 0, atMost: 3000 },
    ],
  },
  { name: 'flash, 16 nodes, 64 pieces', scenario: { ...ORDINARY, nodes: 16, pieces: 64 }, bars: [max(1.09)] },
  {
    name: '10 % slow, 1000 nodes, 256 pieces',
    scenario: { ...MIDDLE, slow: 0.1 },
    bars: [{ figure: 'p99 / T* of the others', of: (result) => result.p99, atMost: 1.12 }],
  },
  { name: '5 % die, 1000 nodes, 256 pieces', scenario: { ...MIDDLE, fail: 0.05 }, bars: [max(1.09)] },
  {
    name: 'rolling, 1000 nodes, 256 pieces',
    scenario: { ...MIDDLE, arrival: 'rolling' },
    bars: [{ figure: 'copies by the seed', of: (result) => result.seedCopies, atMost: 1.2 }],
  },
  zones(2),
  zones(3),
  zones(4),
]
