import { join } from 'node:path'
import { run } from './process.ts'

/** Bundles the program, so that no test runs an old one. Called by vitest once before the end-to-end tests. */
export async function setup(): Promise<void> {
  await run(process.execPath, [join(import.meta.dirname, '../../packages/cli/bundle.ts')], { timeoutMs: 60_000 })
}
