import { execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { invocation, shellQuote } from '../../src/invocation.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "shoal's folder "))
})
afterEach(() => rm(root, { recursive: true }))

describe('how to start another command', () => {
  it.each([
    [{ npm_lifecycle_event: 'npx' }, 'npx shoal'],
    [{ npm_lifecycle_event: 'start' }, 'npm run shoal --'],
    [{ npm_lifecycle_event: 'shoal', PATH: '/usr/bin' }, 'npm run shoal --'],
    [{ PATH: '/usr/bin' }, './packages/cli/bin/shoal'],
  ])('%j: %s', (environment, expected) => {
    expect(invocation('/srv/shoal/packages/cli/dist/shoal.js', environment, '/srv/shoal')).toBe(expected)
  })

  it('is the name alone only when that is on the PATH', async () => {
    const file = join(root, 'packages/cli/dist/shoal.js')
    await mkdir(join(root, 'bin'))
    await writeFile(join(root, 'bin/shoal'), '')
    const environment = { PATH: `/usr/bin:${root}/bin` }
    expect(invocation(file, environment, '/usr')).toBe(shellQuote(join(root, 'packages/cli/bin/shoal')))
    await chmod(join(root, 'bin/shoal'), 0o755)
    expect(invocation(file, environment, '/usr')).toBe('shoal')
  })
})

it.each(['plain', '/a/b-c_d.yaml', 'a b', "it's", '$HOME', 'a;b', '"', 'é', ''])(
  'a shell reads %j as it was',
  (text) => {
    expect(execFileSync('sh', ['-c', `printf %s ${shellQuote(text)}`]).toString()).toBe(text)
  },
)
