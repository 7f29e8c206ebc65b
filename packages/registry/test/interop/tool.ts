import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Where a program is; undefined when it is not installed. */
function find(name: string): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not in this folder.
    }
  }
  return undefined
}

/** The program's path. Where it is not installed the test is skipped, saying why; in CI it fails. */
export function requireTool(name: string, context: { skip(note: string): never }): string {
  const path = find(name)
  if (path !== undefined) return path
  if (process.env.CI === 'true') throw new Error(`${name} is not installed: this test needs it, and CI must run it`)
  return context.skip(`${name} is not installed`)
}

/** Whether all programs are there, for tests that share what they start. Where one is missing in CI, this throws. */
export function areInstalled(names: readonly string[]): boolean {
  const missing = names.filter((name) => find(name) === undefined)
  if (missing.length === 0) return true
  const why = `not installed: ${missing.join(', ')}`
  if (process.env.CI === 'true') throw new Error(`${why}; these tests need it, and CI must run them`)
  process.stderr.write(`skipped, since ${why}\n`)
  return false
}
