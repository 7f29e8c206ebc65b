import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const runFile = promisify(execFile)

/** Mount points at or below `folder`, the latest first. Source: proc(5), /proc/pid/mountinfo. */
export async function mountsUnder(folder: string): Promise<readonly string[]> {
  const table = await readFile('/proc/self/mountinfo', 'utf8')
  const points: string[] = []
  for (const line of table.split('\n')) {
    const point = line
      .split(' ')[4]
      ?.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    if (point !== undefined && (point === folder || point.startsWith(`${folder}/`))) points.push(point)
  }
  return points.reverse()
}

/** Unmounts all that is mounted at or below `folder`, also what is busy (it then goes when its last user ends). */
export async function unmountUnder(folder: string): Promise<void> {
  for (const point of await mountsUnder(folder)) await runFile('umount', ['--lazy', point])
}
