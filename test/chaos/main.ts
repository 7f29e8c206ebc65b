/**
 * The chaos suite: a cluster of real processes, each in a network namespace behind a shaped link, is broken in the
 * middle of a pull in one way after the other; every pull that can must end well, with every byte right.
 */
import { join } from 'node:path'
import {
  isIsolated,
  makeLinks,
  namespacedPlaces,
  optionsOrExitCode,
  print,
  runSheltered,
  whyNotShaped,
} from '@shoal/bench'
import { RATE_BPS } from './cuts.ts'
import { type ChaosOptions, HELP, readOptions } from './options.ts'
import { isGood, linesOf, type RowReport, reportOf } from './report.ts'
import type { Row } from './row.ts'
import { Runtimes } from './runtimes.ts'
import { type Run, runOnce } from './scene.ts'

const PEERS = 6

async function runRows({ rows, runs, blobBytes, hasRuntimes, isJson }: ChaosOptions, folder: string): Promise<number> {
  const places = namespacedPlaces(PEERS, 1, 2)
  await makeLinks(places, { rateBps: RATE_BPS, zones: 1 })
  const runtimes = hasRuntimes ? await Runtimes.start(places, folder) : undefined
  const reports: RowReport[] = []
  for (const row of rows) {
    const ran: Run[] = []
    let error: string | undefined
    while (ran.length < runs && error === undefined) {
      try {
        ran.push(await runOnce(row, places, join(folder, `${row.name}-${ran.length}`), blobBytes, runtimes))
      } catch (cause) {
        error = cause instanceof Error ? cause.message : String(cause)
      }
    }
    const report = reportOf(row, ran, reports[0], error)
    reports.push(report)
    tell(row, report, ran)
  }
  await runtimes?.stop()
  print(isJson, { rows: reports }, linesOf(reports))
  return reports.every(isGood) ? 0 : 1
}

/** Says at once how a row went, since all of them take minutes. */
function tell({ name }: Row, report: RowReport, runs: readonly Run[]): void {
  const how = isGood(report) ? 'all pulls ended well' : (report.error ?? `${report.failed} pulls failed`)
  const [, , line = ''] = linesOf([report])
  process.stderr.write(`${name}: ${how}\n  ${line}\n`)
  for (const complaint of runs.flatMap(({ complaints }) => complaints)) process.stderr.write(`${complaint}\n`)
}

async function main(): Promise<number> {
  const options = optionsOrExitCode(() => readOptions(process.argv.slice(2), process.env.CI === 'true'), HELP)
  if (typeof options === 'number') return options
  const skipped = isIsolated ? undefined : whyNotShaped()
  if (skipped === undefined) return runSheltered((folder) => runRows(options, folder))
  process.stderr.write(`nothing was run: ${skipped}\n`)
  if (options.isJson) print(true, { rows: [], skipped }, [])
  return options.isStrict ? 1 : 0
}

process.exit(await main())
