/** The scheduling simulator: how a blob spreads over a swarm, with the production scheduling core or a rival policy. */
import { print } from './kit/report.ts'
import { HELP, readOptions, type SimOptions } from './sim/options.ts'
import { simulate } from './sim/simulate.ts'
import type { Result } from './sim/tally.ts'

function read(): SimOptions | undefined {
  try {
    return readOptions(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\nTry --help.\n`)
    process.exit(2)
  }
}

function cost({ nsPerAssignment, selectionNsPerAssignment }: Result): string {
  if (nsPerAssignment === null) return 'none'
  return `${nsPerAssignment.toFixed(0)} ns per assignment, ${selectionNsPerAssignment?.toFixed(0)} of them to select`
}

function table({ scenario, policy }: SimOptions, result: Result): string[] {
  const ratio = (value: number) => value.toFixed(3)
  const rows: [string, string][] = [
    ['nodes, pieces', `${result.nodes}, ${result.pieces} (${scenario.arrival}, policy ${policy})`],
    ['time / T*', `p50 ${ratio(result.p50)}  p99 ${ratio(result.p99)}  max ${ratio(result.max)}`],
    ['first piece / T*', `p50 ${ratio(result.firstPieceP50)}`],
    ['prefix / held', ratio(result.inOrder)],
    ['copies by the seed', ratio(result.seedCopies)],
    ['copies across zones', ratio(result.crossZoneCopies)],
    ['assignments', `${result.assignments}`],
    ['messages', `${result.messages} (${(result.messages / result.assignments).toFixed(2)} per assignment)`],
    ['core', cost(result)],
  ]
  if (result.slowMax !== undefined) rows.push(['slow nodes / T*', `max ${ratio(result.slowMax)}`])
  return rows.map(([name, value]) => `${name.padEnd(22)}${value}`)
}

const options = read()
if (options === undefined) process.stdout.write(`${HELP}\n`)
else {
  const result = simulate(options.scenario, options.policy)
  print(options.isJson, result, table(options, result))
}
