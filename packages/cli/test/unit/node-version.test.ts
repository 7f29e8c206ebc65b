import { expect, it } from 'vitest'
import { refuseOldNode } from '../../src/node-version.ts'

it.each([
  ['v20.20.2', 1, 'shoal: Shoal needs Node 26 or newer, and this is v20.20.2: start it with npx shoal'],
  ['v26.10.0', undefined, ''],
  ['v100.0.0', undefined, ''],
])('on Node %s it exits with %s', (version, code, message) => {
  let exited: number | undefined
  let written = ''
  refuseOldNode({
    version,
    stderr: { write: (text) => (written += text) },
    exit: (with_) => {
      exited = with_
    },
  })
  expect(exited).toBe(code)
  expect(written).toMatch(new RegExp(`^${message}`))
})
