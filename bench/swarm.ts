/**
 * A swarm of real processes on shaped links: how long each node took, against the least time that its link allows, and
 * against clients that pull straight from the registry.
 */
import { writeFile } from 'node:fs/promises'
import { optionsOrExitCode } from './kit/options-or-exit-code.ts'
import type { Measured } from './kit/processes.ts'
import { print } from './kit/report.ts'
import { isIsolated, whyNotShaped } from './swarm/isolation.ts'
import { HELP, readOptions, type SwarmOptions } from './swarm/options.ts'
import { plotOf } from './swarm/plot.ts'
import { linesOf, reportOf } from './swarm/report.ts'
import { runSwarm } from './swarm/run.ts'
import { runSheltered, runUnsheltered } from './swarm/shelter.ts'

async function measure(options: SwarmOptions, folder: string, unshapedBecause: string | undefined): Promise<number> {
  const started: Measured[] = []
  try {
    const outcome = await runSwarm(options, folder, started)
    const report = reportOf(options, outcome, unshapedBecause)
    if (options.plot !== undefined) await writeFile(options.plot, plotOf(report, outcome))
    const failures = outcome.rounds.flatMap(({ pulled }) => pulled.map(({ why }) => why)).filter((why) => why !== '')
    for (const why of failures.slice(0, 5)) process.stderr.write(`a pull failed: ${why}\n`)
    print(options.isJson, report, linesOf(report))
    return 0
  } finally {
    await Promise.all(started.reverse().map((service) => service.stop()))
  }
}

/** Reads the command line, and measures in namespaces where it can. */
async function main(): Promise<number> {
  const options = optionsOrExitCode(() => readOptions(process.argv.slice(2)), HELP)
  if (typeof options === 'number') return options
  const why = options.isShaped && !isIsolated ? whyNotShaped() : undefined
  if (options.isShaped && why === undefined) return runSheltered((folder) => measure(options, folder, undefined))
  if (why !== undefined) process.stderr.write(`links are not shaped: ${why}\n`)
  if (why !== undefined && options.rival === 'relay') process.stderr.write('there are no relays without shaped links\n')
  return runUnsheltered((folder) => measure({ ...options, isShaped: false }, folder, why))
}

process.exit(await main())
