import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, it } from 'vitest'

// A service that never gets ready, as one whose storage does not answer.
const PROGRAM = `
import { runService } from ${JSON.stringify(join(import.meta.dirname, '../../src/run-service.ts'))}
setInterval(() => {}, 1000)
const start = () => {
  console.log('starting')
  return new Promise(() => {})
}
const service = { start, stop: async () => {}, addresses: () => ({}) }
const definition = { name: 'endless', schema: { type: 'object', properties: {} }, create: () => service }
await runService(definition, { set: [], environment: {} })
process.exit(0)
`

it('a signal ends a service that still starts', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', PROGRAM])
  const ended = once(child, 'close')
  let log = ''
  child.stderr.on('data', (chunk) => {
    log += chunk
  })
  child.stdout.once('data', () => child.kill('SIGTERM'))
  expect(await ended).toEqual([0, null])
  expect(log).toContain('"reason":"SIGTERM","msg":"stopped before it was ready"')
})
