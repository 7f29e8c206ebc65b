import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { createProgram } from '../../src/program.ts'

/** Runs a command; returns what it printed. */
function shoal(...args: string[]): Promise<string> {
  return shoalWith({ SHOAL_LANE_PORT: '1234' }, ...args)
}

async function shoalWith(environment: Record<string, string>, ...args: string[]): Promise<string> {
  let printed = ''
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      printed += chunk
      done()
    },
  })
  await createProgram({ file: 'shoal', environment, stdout, stderr: stdout }).parseAsync(['node', 'shoal', ...args])
  return printed
}

describe('shoal config', () => {
  it('prints the options in force and where each came from', async () => {
    const printed = await shoal('config', 'print', 'peer', '--set', 'log.level=debug', '--set', 'labels.zone=a')
    expect(printed).toContain('  level: debug # --set log.level\n')
    expect(printed).toContain('  port: 1234 # SHOAL_LANE_PORT\n')
    expect(printed).toContain('  zone: a # --set labels.zone\n')
    expect(printed).toContain('schedulers: # default\n  - 127.0.0.1:7400\n')
  })

  it('hides what may be secret, and says where it came from', async () => {
    const endpoint = 'notifications.endpoints.ci'
    const url = ['--set', `${endpoint}.url=https://user:s3cret@example.com/`]
    const headers = ['--set', `${endpoint}.headers.authorization=s3cret`]
    const printed = await shoal('config', 'print', 'registry', ...url, ...headers)
    expect(printed).not.toContain('s3cret')
    expect(printed).toContain(`      url: "***" # --set ${endpoint}.url\n`)
    expect(printed).toContain(`        authorization: "***" # --set ${endpoint}.headers.authorization\n`)
    expect(printed).toContain('      timeoutMs: 1000 # default\n')
  })

  it('has its reference in docs/configuration.md as it is', async () => {
    const docs = await readFile(join(import.meta.dirname, '../../../../docs/configuration.md'), 'utf8')
    const plain = (markdown: string) => markdown.replace(/ {2,}/g, ' ').replace(/-{3,}/g, '---')
    expect(plain(docs)).toContain(plain((await shoal('config', 'reference')).trim()))
  })

  it('refuses a variable that no service has, and lets be those of another service', async () => {
    const typo = shoalWith({ SHOAL_MIROR_PORT: '1' }, 'config', 'print', 'peer')
    await expect(typo).rejects.toThrow('SHOAL_MIROR_PORT: no option has this variable; did you mean SHOAL_MIRROR_PORT?')
    const shared = await shoalWith({ SHOAL_GC_GRACE_HOURS: '9', SHOAL_ADMIN_PORT: '9' }, 'config', 'print', 'scheduler')
    expect(shared).toContain('  port: 9 # SHOAL_ADMIN_PORT\n')
  })

  it('refuses what it does not know', async () => {
    await expect(shoal('config', 'print', 'peer', '--set', 'lane.prot=1')).rejects.toThrow('did you mean "lane.port"?')
    await expect(shoal('config', 'print', 'nobody')).rejects.toThrow()
  })
})
