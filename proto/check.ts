/**
 * Checks the contracts: lint, no change that breaks what was accepted (`proto/accepted.binpb`, renewed on purpose with
 * `npm run proto:accept`), and generated code that is what the contracts generate.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })

const generated = mkdtempSync(join(tmpdir(), 'shoal-proto-'))
try {
  run('buf', 'lint')
  run('buf', 'breaking', '--against', 'proto/accepted.binpb')
  run('buf', 'generate', '--output', generated)
  run('diff', '--recursive', '--brief', 'proto/gen', join(generated, 'proto/gen'))
} catch {
  process.stderr.write('proto: run "npm run proto:generate"; a break that is meant also needs "npm run proto:accept"\n')
  process.exitCode = 1
} finally {
  rmSync(generated, { recursive: true })
}
