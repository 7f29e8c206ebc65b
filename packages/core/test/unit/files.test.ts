import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { prepareDataFolder, writeFileAtomic } from '../../src/index.ts'
import { loadOrCreateIdentity } from '../../src/service/index.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-core-'))
})
afterEach(() => rm(folder, { recursive: true }))

describe('data folder', () => {
  it('is made with its parents and left empty', async () => {
    const made = await prepareDataFolder(join(folder, 'a/b'))
    expect(await readdir(made)).toEqual([])
  })

  it('says what to do when it can not be written', async () => {
    await writeFile(join(folder, 'file'), '')
    await expect(prepareDataFolder(join(folder, 'file/b'))).rejects.toThrow(
      /can not write to the data folder .*ENOTDIR/,
    )
  })

  it('writes a file whole or not at all', async () => {
    await writeFileAtomic(join(folder, 'x'), 'one')
    await writeFileAtomic(join(folder, 'x'), 'two')
    expect(await readFile(join(folder, 'x'), 'utf8')).toBe('two')
    await expect(writeFileAtomic(join(folder, 'none/x'), 'three')).rejects.toThrow('ENOENT')
    expect(await readdir(folder)).toEqual(['x'])
  })
})

describe('identity', () => {
  it('is made once, readable by its owner alone, and found again', async () => {
    const path = join(folder, 'deep/identity.key')
    const first = await loadOrCreateIdentity(path)
    const second = await loadOrCreateIdentity(path)
    expect(second.peerId).toBe(first.peerId)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  it('refuses a file that holds no key', async () => {
    await writeFile(join(folder, 'identity.key'), 'not a key')
    await expect(loadOrCreateIdentity(join(folder, 'identity.key'))).rejects.toMatchObject({ code: 'IDENTITY_INVALID' })
  })
})
