import type { Row } from './row.ts'
import { CLOCK_ROWS } from './rows/clocks.ts'
import { LINK_ROWS } from './rows/links.ts'
import { NODE_ROWS } from './rows/nodes.ts'
import { ORIGIN_ROWS } from './rows/origin.ts'
import { ROLLING_ROWS } from './rows/rolling.ts'
import { SCHEDULER_ROWS } from './rows/schedulers.ts'

/** What all other rows are compared with. */
export const REFERENCE: Row = {
  name: 'undisturbed',
  fault: 'nothing happens',
  strike: async () => ({}),
}

/** All rows, the reference first. */
export const ROWS: readonly Row[] = [
  REFERENCE,
  ...SCHEDULER_ROWS,
  ...NODE_ROWS,
  ...LINK_ROWS,
  ...ORIGIN_ROWS,
  ...CLOCK_ROWS,
  ...ROLLING_ROWS,
]
