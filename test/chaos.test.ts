import { join } from 'node:path'
import { expect, test } from 'vitest'
import { describeWith } from './kit/missing.ts'
import { run } from './kit/process.ts'

const PROGRAM = join(import.meta.dirname, 'chaos/main.ts')

interface Row {
  readonly name: string
  readonly failed: number
  readonly wrongBytes: number
  readonly originCopies: number
}

describeWith(['namespaces'], 'a cluster on shaped links', () => {
  test('loses its scheduler, or has a peer stand still, in mid-pull: no pull fails', async () => {
    const faults = ['scheduler-killed', 'peer-stopped']
    const args = [PROGRAM, '--rows', faults.join(','), '--blob', '16MiB', '--strict', '--json']
    const { stdout } = await run(process.execPath, args, { timeoutMs: 170_000 })
    const { rows } = JSON.parse(stdout) as { readonly rows: readonly Row[] }
    expect(rows).toMatchObject(['undisturbed', ...faults].map((name) => ({ name, runs: 1, failed: 0, wrongBytes: 0 })))
    expect(rows[0]?.originCopies).toBeLessThan(1.05)
  })
})
