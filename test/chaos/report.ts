import { percentile } from '@shoal/bench'
import type { Row } from './row.ts'
import type { Run } from './scene.ts'

/** What all runs of a row showed, as `--json` prints it. */
export interface RowReport {
  readonly name: string
  readonly runs: number
  /** Pulls that had to end well and did not. */
  readonly failed: number
  readonly wrongBytes: number
  /** NaN when no pull was timed. */
  readonly medianSeconds: number
  /** NaN when no pull was timed. */
  readonly p99Seconds: number
  /** p99 of the time of a pull over that of the undisturbed runs. */
  readonly p99Slowdown: number
  /** Of the median pull, beyond the median one of the undisturbed runs; NaN when no pull was timed. */
  readonly lostSeconds: number
  /** The most of all runs. */
  readonly originCopies: number
  /** Why a run could not be carried out, or what was not as it must be. */
  readonly error?: string
}

/** Runs of which the median is judged. */
const ENOUGH_RUNS = 5
const NO_BOUND = Number.POSITIVE_INFINITY

/** @param reference the undisturbed runs; undefined: these are they */
export function reportOf(
  row: Pick<Row, 'name' | 'mostSlowdown' | 'mostLostSeconds' | 'mostOriginCopies'>,
  runs: readonly Run[],
  reference: RowReport | undefined,
  error: string | undefined,
): RowReport {
  const total = (value: (run: Run) => number) => runs.reduce((sum, run) => sum + value(run), 0)
  const seconds = runs.flatMap(({ totalMs }) => totalMs.map((ms) => ms / 1000))
  const p99Seconds = percentile(seconds, 0.99)
  const medianSeconds = percentile(seconds, 0.5)
  const p99Slowdown = p99Seconds / (reference?.p99Seconds ?? p99Seconds)
  const lostSeconds = medianSeconds - (reference?.medianSeconds ?? medianSeconds)
  const originCopies = runs.length === 0 ? Number.NaN : Math.max(...runs.map((run) => run.originCopies))
  const figures = { p99Slowdown, lostSeconds: runs.length < ENOUGH_RUNS ? 0 : lostSeconds, originCopies }
  const complaint = error ?? complaintOf(row, figures)
  return {
    name: row.name,
    runs: runs.length,
    failed: total((run) => run.failed),
    wrongBytes: total((run) => run.wrongBytes),
    medianSeconds,
    p99Seconds,
    p99Slowdown,
    lostSeconds,
    originCopies,
    ...(complaint === undefined ? {} : { error: complaint }),
  }
}

function complaintOf(
  most: Pick<Row, 'mostSlowdown' | 'mostLostSeconds' | 'mostOriginCopies'>,
  { p99Slowdown, lostSeconds, originCopies }: Pick<RowReport, 'p99Slowdown' | 'lostSeconds' | 'originCopies'>,
): string | undefined {
  const { mostSlowdown = NO_BOUND, mostLostSeconds = NO_BOUND, mostOriginCopies = NO_BOUND } = most
  if (p99Slowdown > mostSlowdown) return `the pulls may take ${mostSlowdown} times as long as undisturbed`
  if (lostSeconds > mostLostSeconds) return `the fault may cost the median pull ${mostLostSeconds} s`
  if (originCopies > mostOriginCopies) return `the origin may send ${mostOriginCopies} times the blob`
  return undefined
}

/** Whether all went as promised. */
export function isGood({ failed, wrongBytes, error }: RowReport): boolean {
  return failed === 0 && wrongBytes === 0 && error === undefined
}

/** The table for people, which is Markdown too. */
export function linesOf(rows: readonly RowReport[]): string[] {
  const cells = rows.map((row) => [
    row.name,
    String(row.runs),
    String(row.failed),
    String(row.wrongBytes),
    figure(row.p99Seconds, 1),
    figure(row.p99Slowdown, 2),
    figure(row.lostSeconds, 1),
    figure(row.originCopies, 2),
  ])
  const table = [
    ['row', 'runs', 'failed', 'wrong bytes', 'p99, s', 'p99 slowdown', 'lost, s', 'origin copies'],
    ...cells,
  ]
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((line) => line[column]?.length ?? 0)))
  const lines = table.map((line) => `| ${line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`)
  lines.splice(1, 0, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`)
  return [...lines, ...rows.flatMap(({ name, error }) => (error === undefined ? [] : [`${name}: ${error}`]))]
}

function figure(value: number, digits: number): string {
  return Number.isNaN(value) ? '' : value.toFixed(digits)
}
