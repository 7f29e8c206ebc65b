import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Writable } from 'node:stream'
import { digestOf } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createProgram } from '../../src/program.ts'

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-cli-gc-'))
})
afterEach(() => rm(dataDir, { recursive: true }))

/** Runs `shoal registry gc` on the folder; what it printed. */
async function gc(...args: string[]): Promise<string> {
  let printed = ''
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      printed += chunk
      done()
    },
  })
  const program = createProgram({ file: 'shoal', environment: {}, stdout, stderr: stdout })
  await program.parseAsync(['node', 'shoal', 'registry', 'gc', '--set', `dataDir=${dataDir}`, ...args])
  return printed
}

/** Stores a blob that was modified so many hours ago. */
async function storeBlob(content: string, hoursAgo: number): Promise<void> {
  const hex = digestOf(content).slice('sha256:'.length)
  const file = join(dataDir, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data')
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, content)
  const then = Date.now() / 1000 - hoursAgo * 3600
  await utimes(file, then, then)
}

const files = async () => (await readdir(dataDir, { recursive: true })).filter((name) => name.endsWith('/data')).length

describe('shoal registry gc', () => {
  it('counts, then removes, what is unused for as long as the options say', async () => {
    await storeBlob('old', 30)
    await storeBlob('new', 20)
    expect(await gc('--dry-run')).toContain('would remove 1 of 2 stored files')
    expect(await files()).toBe(2)
    expect(await gc('--set', 'gc.graceHours=100')).toContain('removed 0 of 2 stored files')
    expect(JSON.parse(await gc('--json'))).toMatchObject({ blobs: 2, removedBlobs: 1, removedBytes: 3, unreadable: [] })
    expect(await files()).toBe(1)
  })

  it('says when there is no such folder', async () => {
    await expect(gc('--set', 'dataDir=/nowhere/at/all')).rejects.toMatchObject({ code: 'USAGE' })
  })
})
