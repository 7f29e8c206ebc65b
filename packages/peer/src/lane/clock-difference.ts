import type { HelloFrame } from './frames.ts'

/** Clocks that differ by less are fine; a hello may be some seconds on its way. */
const APART_MS = 60_000

/** How far the clock of who said hello is ahead of ours, milliseconds, negative: behind; undefined: not worth a word. */
export function clockDifferenceMs({ timeMs }: HelloFrame): number | undefined {
  if (timeMs === undefined) return undefined
  const aheadMs = timeMs - Date.now()
  return Math.abs(aheadMs) >= APART_MS ? aheadMs : undefined
}
