import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const CHUNK = Buffer.alloc(1024 * 1024, 1)

/**
 * Touches `mebibytes` of page cache and gives it back. On a virtual machine the first use of memory since boot goes to
 * the host and costs up to ten times a later one; without this the machine is measured, not the program.
 */
export function warmMemory(folder: string, mebibytes: number): void {
  const path = join(folder, 'warm')
  const file = openSync(path, 'w')
  try {
    for (let i = 0; i < mebibytes; i++) writeSync(file, CHUNK)
  } finally {
    closeSync(file)
    rmSync(path)
  }
}
