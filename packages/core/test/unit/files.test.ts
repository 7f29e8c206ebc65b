import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { keepToOwner, makeFolder, prepareDataFolder, writeFileAtomic } from '../../src/index.ts'
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

  it('says what to do when it cannot be written', async () => {
    await writeFile(join(folder, 'file'), '')
    await expect(prepareDataFolder(join(folder, 'file/b'))).rejects.toThrow(/cannot write to the data folder .*ENOTDIR/)
  })

  it.each(['/proc/none/a', '/proc/self/fd/a'])('is refused, and not tried for ever, at %s', async (path) => {
    await expect(prepareDataFolder(path)).rejects.toThrow(
      /cannot write to the data folder .*ENOENT.*choose another one/,
    )
  })

  it('is not made in place of a file, or of a link that leads nowhere', async () => {
    await writeFile(join(folder, 'file'), '')
    await symlink(join(folder, 'none'), join(folder, 'link'))
    for (const name of ['file', 'link']) await expect(makeFolder(join(folder, name))).rejects.toThrow('EEXIST')
  })

  it('is made by several at once', async () => {
    await Promise.all(Array.from({ length: 20 }, () => makeFolder(join(folder, 'a/b/c'))))
    expect(await readdir(join(folder, 'a/b/c'))).toEqual([])
  })

  it('is for its owner alone where it is new, and stays as it is where it was', async () => {
    const made = await prepareDataFolder(join(folder, 'new'))
    expect((await stat(made)).mode & 0o777).toBe(0o700)
    await mkdir(join(folder, 'old'))
    await chmod(join(folder, 'old'), 0o755)
    const old = await prepareDataFolder(join(folder, 'old'))
    expect((await stat(old)).mode & 0o777).toBe(0o755)
    expect([await keepToOwner(old), await keepToOwner(old)]).toEqual(['done', 'was'])
    expect((await stat(old)).mode & 0o777).toBe(0o700)
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
  it('that others can read is kept to its owner, and the log says so', async () => {
    const path = join(folder, 'identity.key')
    const said: string[] = []
    const log = { warn: (_fields: unknown, text: string) => said.push(text) } as never
    const { peerId } = await loadOrCreateIdentity(path, log)
    expect(said).toEqual([])
    await chmod(path, 0o644)
    expect((await loadOrCreateIdentity(path, log)).peerId).toBe(peerId)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(said).toEqual([expect.stringContaining('other users could read the key')])
    await loadOrCreateIdentity(path, log)
    expect(said).toHaveLength(1)
  })

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
