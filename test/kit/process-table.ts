import { readdir, readFile } from 'node:fs/promises'

/** Signals a process group; one that has ended is left alone. */
export function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // ESRCH: nothing is left of it.
  }
}

/** Processes of a group that run (zombies, which only wait to be reaped, do not). */
export async function livingMembers(group: number): Promise<readonly number[]> {
  const members: number[] = []
  for (const pid of await processIds()) {
    const status = await processStatus(pid)
    if (status?.group === group && status.isLiving) members.push(pid)
  }
  return members
}

/** Those of `pids` that run. */
export async function livingAmong(pids: Iterable<number>): Promise<readonly number[]> {
  const living: number[] = []
  for (const pid of pids) if ((await processStatus(pid))?.isLiving === true) living.push(pid)
  return living
}

/** Source: proc(5), /proc/pid/stat. */
async function processStatus(pid: number): Promise<{ group: number; isLiving: boolean } | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (stat === undefined) return undefined
  // The second field, the program's name in parentheses, may itself hold spaces and parentheses.
  const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { group: Number(group), isLiving: state !== 'Z' && state !== 'X' }
}

/**
 * Kills the processes whose command line names `folder`: a runtime's shims leave its process group and outlive it.
 * The folder is a fresh temporary one, so none but the test's own can name it.
 */
export async function killProcessesNaming(folder: string): Promise<void> {
  for (const pid of await processIds()) {
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (pid === process.pid || !commandLine.includes(folder)) continue
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // ESRCH: it ended by itself in between.
    }
  }
}

async function processIds(): Promise<number[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
}
