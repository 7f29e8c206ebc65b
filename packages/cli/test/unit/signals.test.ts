import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, expect, it } from 'vitest'

const SIGNALS_FILE = join(import.meta.dirname, '../../src/signals.ts')
// Says why it is to stop, and does not; then says that it no longer listens.
const STUBBORN = `
import { untilToldToStop } from ${JSON.stringify(SIGNALS_FILE)}
setInterval(() => {}, 1000)
const stopped = untilToldToStop()
console.log('up')
console.log(await stopped)
const timer = setInterval(() => {
  if (process.listenerCount('SIGTERM') > 0) return
  clearInterval(timer)
  console.log('deaf')
}, 10)
`

let child: ChildProcess
afterEach(() => child.kill('SIGKILL'))

it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  '%s is told once, however often it comes at once; later it ends a program that does not end',
  async (signal) => {
    child = spawn(process.execPath, ['--input-type=module', '--eval', STUBBORN], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(child, 'exit')
    const lines: string[] = []
    for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
      lines.push(line)
      if (line === 'up') child.kill(signal)
      if (line === signal) child.kill(signal)
      if (line === 'deaf') child.kill(signal)
    }
    expect(lines).toEqual(['up', signal, 'deaf'])
    expect(await ended).toEqual([null, signal])
  },
)
