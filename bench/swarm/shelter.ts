import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isIsolated, runIsolated } from './isolation.ts'

const FOLDER = 'BENCH_FOLDER'
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Runs `inside` in this program started again in namespaces of its own (isolation.ts), with a folder that is gone when
 * it ends, whichever way that is. Returns the exit code of the program.
 */
export async function runSheltered(inside: (folder: string) => Promise<number>): Promise<number> {
  if (!isIsolated) {
    return inFolder((folder) => {
      process.env[FOLDER] = folder
      return runIsolated(process.argv.slice(1))
    })
  }
  // The other process is gone or was told to end: all that was started ends with this one. Only the folder would stay,
  // when the other was killed.
  const folder = process.env[FOLDER] ?? ''
  const leave = () => {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    process.exit(130)
  }
  process.stdin.on('end', leave).resume()
  for (const signal of SIGNALS) process.on(signal, () => process.exit(130))
  return inside(folder)
}

/** Runs `inside` where links can not be shaped, in a folder that is gone when it ends, also by a signal. */
export function runUnsheltered(inside: (folder: string) => Promise<number>): Promise<number> {
  return inFolder((folder) => {
    // Processes that were started are killed as this one exits (bench/kit/processes.ts).
    for (const signal of SIGNALS) {
      process.on(signal, () => void rm(folder, { recursive: true, force: true }).finally(() => process.exit(130)))
    }
    return inside(folder)
  })
}

async function inFolder(inside: (folder: string) => Promise<number>): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-swarm-'))
  try {
    return await inside(folder)
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}
