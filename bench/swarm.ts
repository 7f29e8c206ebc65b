/**
 * A swarm of real processes on shaped links: how long each node took, against the least time that its link allows, and
 * against clients that pull straight from the registry.
 */
import { rmSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Measured } from './kit/processes.ts'
import { print } from './kit/report.ts'
import { isIsolated, runIsolated, whyNotShaped } from './swarm/isolation.ts'
import { HELP, readOptions, type SwarmOptions } from './swarm/options.ts'
import { plotOf } from './swarm/plot.ts'
import { linesOf, reportOf } from './swarm/report.ts'
import { runSwarm } from './swarm/run.ts'

const FOLDER = 'SHOAL_BENCH_FOLDER'

async function measure(options: SwarmOptions, folder: string, unshapedBecause: string | undefined): Promise<void> {
  const started: Measured[] = []
  try {
    const outcome = await runSwarm(options, folder, started)
    const report = reportOf(options, outcome, unshapedBecause)
    if (options.plot !== undefined) await writeFile(options.plot, plotOf(report, outcome))
    const failures = outcome.rounds.flatMap(({ pulled }) => pulled.map(({ why }) => why)).filter((why) => why !== '')
    for (const why of failures.slice(0, 5)) process.stderr.write(`a pull failed: ${why}\n`)
    print(options.isJson, report, linesOf(report))
  } finally {
    await Promise.all(started.reverse().map((service) => service.stop()))
  }
}

/** In a folder of its own, which is gone when this returns; `--unshaped`, and when asked to end, as well as it can. */
async function main(): Promise<number> {
  let options: SwarmOptions | undefined
  try {
    options = readOptions(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\nWith --help this says what it takes.\n`)
    return 2
  }
  if (options === undefined) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  if (isIsolated) {
    // The other process is gone or was told to end: all that was started ends with this one. Only the folder would stay,
    // when the other was killed.
    const leave = () => {
      rmSync(process.env[FOLDER] ?? '', { recursive: true, force: true, maxRetries: 5 })
      process.exit(130)
    }
    process.stdin.on('end', leave).resume()
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130))
    await measure(options, process.env[FOLDER] ?? '', undefined)
    return 0
  }
  const why = options.isShaped ? whyNotShaped() : undefined
  const folder = await mkdtemp(join(tmpdir(), 'shoal-swarm-'))
  try {
    if (options.isShaped && why === undefined) {
      process.env[FOLDER] = folder
      return await runIsolated(process.argv.slice(1))
    }
    if (why !== undefined) process.stderr.write(`links are not shaped: ${why}\n`)
    // Processes that were started are killed as this one exits (bench/kit/processes.ts).
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => void rm(folder, { recursive: true, force: true }).finally(() => process.exit(130)))
    }
    await measure({ ...options, isShaped: false }, folder, why)
    return 0
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

process.exit(await main())
