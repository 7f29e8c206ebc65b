import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Writable } from 'node:stream'
import { digestOf } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createProgram } from '../../src/program.ts'

const CONTENT = 'a layer'
const HEX = digestOf(CONTENT).slice('sha256:'.length)
const BLOB = `docker/registry/v2/blobs/sha256/${HEX.slice(0, 2)}/${HEX}/data`
const LINK = `docker/registry/v2/repositories/app/_layers/sha256/${HEX}/link`

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-cli-backup-'))
  await put(join(folder, 'data', BLOB), CONTENT)
  await put(join(folder, 'data', LINK), `sha256:${HEX}`)
})
afterEach(() => rm(folder, { recursive: true }))

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, content)
}

/** Runs `shoal registry …` with a data folder; what it printed. */
async function registry(dataDir: string, command: string, ...args: string[]): Promise<string> {
  let printed = ''
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      printed += chunk
      done()
    },
  })
  const program = createProgram({ file: 'shoal', environment: {}, stdout, stderr: stdout })
  const config = ['--set', `dataDir=${join(folder, dataDir)}`]
  await program.parseAsync(['node', 'shoal', 'registry', command, ...config, ...args])
  return printed
}

const to = () => join(folder, 'backup')

describe('shoal registry backup and restore', () => {
  it('bring a registry to another folder', async () => {
    expect(await registry('data', 'backup', '--to', to())).toContain('backed up: 1 repositories, 2 files')
    const again = JSON.parse(await registry('data', 'backup', '--to', to(), '--json'))
    expect(again).toEqual({ repositories: 1, files: 2, bytes: CONTENT.length, copiedBytes: 0, problems: 0 })
    expect(await registry('new', 'restore', '--from', to())).toContain('restored: 1 repositories, 2 files')
    expect(await readFile(join(folder, 'new', LINK), 'utf8')).toBe(`sha256:${HEX}`)
    expect(await readFile(join(folder, 'new', BLOB), 'utf8')).toBe(CONTENT)
    await expect(registry('new', 'restore', '--from', to())).rejects.toThrow('--merge')
    expect(await registry('new', 'restore', '--from', to(), '--merge')).toContain('restored')
  })

  it('name what can not be backed up, and fail', async () => {
    await put(join(folder, 'data', BLOB), 'damaged')
    await expect(registry('data', 'backup', '--to', to())).rejects.toMatchObject({ code: 'BACKUP_INCOMPLETE' })
  })

  it('say what is wrong with the folders', async () => {
    await expect(registry('none', 'backup', '--to', to())).rejects.toMatchObject({ code: 'USAGE' })
    await expect(registry('data', 'backup', '--to', join(folder, 'data'))).rejects.toThrow(
      "is the registry's own folder",
    )
    await expect(registry('new', 'restore', '--from', join(folder, 'nowhere'))).rejects.toThrow(
      'there is no backup.jsonl',
    )
  })
})
