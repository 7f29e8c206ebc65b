import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { sizeOfFile } from './files.ts'

/** Bytes of the logs of a LevelDB database: what opening it writes into a table. */
export async function logBytes(folder: string): Promise<number> {
  const logs = (await readdir(folder)).filter((name) => name.endsWith('.log'))
  const sizes = await Promise.all(logs.map((name) => sizeOfFile(join(folder, name))))
  return sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0)
}
