import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Writable } from 'node:stream'
import { digestOf } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createProgram } from '../../src/program.ts'

const bytes = 'what a blob holds'
const hex = digestOf(bytes).slice('sha256:'.length)

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-cli-verify-'))
})
afterEach(() => rm(dataDir, { recursive: true }))

/** Runs `shoal registry verify`; what it printed, and what it threw. */
async function verify(...args: string[]) {
  let printed = ''
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      printed += chunk
      done()
    },
  })
  const program = createProgram({ file: 'shoal', environment: {}, stdout, stderr: stdout })
  const error = await program.parseAsync(['node', 'shoal', 'registry', 'verify', ...args]).then(
    () => undefined,
    (cause: Error & { code?: string }) => cause.code,
  )
  return { printed, error }
}

async function storeBlob(content: string): Promise<void> {
  const file = join(dataDir, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data')
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, content)
}

describe('shoal registry verify', () => {
  it('says what it looked at', async () => {
    await storeBlob(bytes)
    const { printed, error } = await verify('--set', `dataDir=${dataDir}`)
    expect(error).toBeUndefined()
    expect(printed).toMatch(/^checked 0 repositories, 0 tags, 0 manifests, 1 blobs, .*; all is well\n$/)
  })

  it('says what is damaged, and fails for it', async () => {
    await storeBlob('something else')
    const { printed, error } = await verify('--set', `dataDir=${dataDir}`)
    expect(error).toBe('VERIFY_DAMAGED')
    expect(printed).toContain(`corrupt: sha256:${hex}: `)
    expect(printed).toContain('1 findings')
  })

  it('prints one line of JSON', async () => {
    await storeBlob('something else')
    const { printed } = await verify('--json', '--set', `dataDir=${dataDir}`)
    const [finding] = JSON.parse(printed).findings
    expect(JSON.parse(printed)).toMatchObject({ blobs: 1, count: 1 })
    expect(finding).toMatchObject({ kind: 'corrupt', where: `sha256:${hex}` })
  })

  it('takes no folder that is not there for an empty registry', async () => {
    expect(await verify('--set', `dataDir=${join(dataDir, 'elsewhere')}`)).toEqual({ printed: '', error: 'USAGE' })
  })
})
