/** Whatever way of the documented ones it was started, and whichever signal npm gets: all of it ends, in order. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Launched, type LaunchOptions, launch } from './kit/process.ts'
import { livingAmong } from './kit/process-table.ts'
import { createTestBed } from './kit/test-bed.ts'

const ROOT = join(import.meta.dirname, '..')
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGKILL'] as const
const WAYS = [['npm', 'run', 'shoal', '--'], ['npx', 'shoal'], ['packages/cli/bin/shoal']] as const

describe('stopping', () => {
  const bed = createTestBed()

  const start = async ([command, ...args]: readonly [string, ...string[]], options: LaunchOptions = {}) =>
    bed.use(await launch(command, command, args, { cwd: ROOT, ...options }))

  /** A registry on free ports. */
  const registryArgs = async () => {
    const dataDir = await bed.folder('data')
    return ['registry', ...['port=0', 'metrics.port=0', `dataDir=${dataDir}`].flatMap((set) => ['--set', set])]
  }

  const untilStarted = async (program: Launched): Promise<number> =>
    Number((await program.waitForLine(/"pid":(\d+),"msg":"started"/))[1])

  const untilGone = (pids: readonly number[]) => expect.poll(() => livingAmong(pids), { timeout: 15_000 }).toEqual([])

  describe.each(WAYS.map((way) => ({ way, how: way.join(' ') })))('$how', ({ way }) => {
    test.each(SIGNALS)('%s ends the service in order', async (signal) => {
      const program = await start([...way, ...(await registryArgs())])
      const service = await untilStarted(program)
      process.kill(program.pid, signal)
      await program.exited
      await untilGone([service])
      // No program can tell of its own SIGKILL.
      const isKilled = service === program.pid && signal === 'SIGKILL'
      await expect.poll(() => program.output.text().includes('"msg":"stopped"')).toBe(!isKilled)
    })
  })

  test.each(SIGNALS)('npm start: %s ends the whole network in order', async (signal) => {
    const data = await bed.folder('network')
    const program = await start(['npm', 'start', '--', '--json', '--nodes', '1', '--data', data])
    const [line] = await program.waitForLine(/^\{.*\}$/, { stream: 'stdout' })
    const up = JSON.parse(line) as Record<string, { pid: number } | { pid: number }[]>
    const pids = ['registry', 'schedulers', 'seeds', 'peers'].flatMap((kind) => up[kind] ?? []).map(({ pid }) => pid)
    process.kill(program.pid, signal)
    await program.exited
    await untilGone(pids)
    for (const name of ['registry', 'scheduler', 'seed-0', 'peer-0']) {
      expect(await readFile(join(data, 'log', `${name}.log`), 'utf8')).toContain('"msg":"stopped"')
    }
  })

  test('Ctrl-C at a terminal, which npm passes on a second time, ends the service in order', async () => {
    const go = join(await bed.folder('keys'), 'go')
    const command = `npm run shoal -- ${(await registryArgs()).join(' ')}`
    // Types Ctrl-C when `go` is written to, and leaves the terminal open.
    const keys = `mkfifo ${go}; { cat ${go}; printf '\\003'; sleep 60; }`
    const program = await start(['sh', '-c', `${keys} | script -qec '${command}' /dev/null`])
    const service = await untilStarted(program)
    await writeFile(go, '')
    await program.waitForLine(/"msg":"stopped"/)
    await untilGone([service])
    expect(program.output.text().match(/"msg":"stopping"/g)).toHaveLength(1)
  })
})
