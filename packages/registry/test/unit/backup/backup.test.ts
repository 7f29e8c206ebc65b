import { formatDigest, MEDIA_TYPES } from '@shoal/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { backUp } from '../../../src/backup/backup.ts'
import { LEDGER } from '../../../src/backup/ledger.ts'
import { restore } from '../../../src/backup/restore.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { MemoryDriver } from '../../../src/storage/memory.ts'
import { blobPath, layerLinkPath } from '../../../src/storage/paths.ts'
import { verifyStorage } from '../../../src/verify.ts'
import { content } from '../../running-registry.ts'
import { World } from '../gc/world.ts'

let world: World
let backup: StorageDriver
beforeEach(() => {
  world = new World()
  backup = new MemoryDriver(2 ** 24)
})

const noProblem = (what: string) => {
  throw new Error(what)
}
const make = (source: StorageDriver = world.driver) => backUp(source, backup, { problem: noProblem })

/** All files of a storage with their text. */
async function filesOf(driver: StorageDriver, path = ''): Promise<Record<string, string>> {
  const files: Record<string, string> = {}
  for (const name of await driver.list(path)) {
    const child = path === '' ? name : `${path}/${name}`
    const stat = await driver.stat(child)
    if (stat?.isFolder) Object.assign(files, await filesOf(driver, child))
    else files[child] = Buffer.from((await driver.read(child, 2 ** 24)) ?? '').toString('latin1')
  }
  return files
}

async function findings(driver: StorageDriver): Promise<string[]> {
  const found: string[] = []
  await verifyStorage(driver, { found: ({ where, why }) => found.push(`${where}: ${why}`) })
  return found
}

async function fill(): Promise<void> {
  const child = await world.image('app', 'one', {}, 'v1')
  await world.image('team/app', 'two', {}, 'v1')
  const manifests = [{ mediaType: MEDIA_TYPES.ociManifest, digest: formatDigest(child), size: 1 }]
  await world.manifest('app', { mediaType: MEDIA_TYPES.ociIndex, manifests }, 'list')
}

describe('a backup', () => {
  it('is what a registry can serve, and gives the registry back as it was', async () => {
    await fill()
    const made = await make()
    expect(made).toMatchObject({ repositories: 2, copiedBytes: expect.any(Number) })
    expect(await findings(backup)).toEqual([])
    const target = new MemoryDriver(2 ** 24)
    const restored = await restore(backup, target, { isMerge: false })
    expect(restored).toMatchObject({ repositories: 2, files: made.files })
    const { [LEDGER]: _, ...expected } = await filesOf(backup)
    expect(await filesOf(target)).toEqual(expected)
    const original = await filesOf(world.driver)
    for (const path of Object.keys(expected)) expect(expected[path]).toBe(original[path])
    expect(await findings(target)).toEqual([])
  })

  it('copies the second time only what is new, and forgets what was deleted', async () => {
    await fill()
    const first = await make()
    expect(await make()).toMatchObject({ copiedBytes: 0, files: first.files })
    await world.image('app', 'three', {}, 'v2')
    const second = await make()
    expect(second.copiedBytes).toBeGreaterThan(1000)
    expect(second.copiedBytes).toBeLessThan(2000)
    await world.manifests.remove('app', await world.image('app', 'three', {}))
    await make()
    const paths = Object.keys(await filesOf(backup))
    expect(paths.filter((path) => path.includes('/tags/v2/'))).toEqual([])
    expect(await findings(backup)).toEqual([])
  })

  it('has whole images alone, whatever is pushed and deleted at any of its steps', async () => {
    for (let at = 0, steps = 1; at < steps; at++) {
      world = new World()
      await fill()
      await world.image('app', 'earlier', {}, 'earlier')
      steps = 0
      const source = new Proxy(world.driver, {
        get: (target, name: Exclude<keyof StorageDriver, 'presign'>) => async (path: string, second: never) => {
          if (steps++ === at) {
            await world.image('app', 'meanwhile', {}, 'meanwhile')
            await world.manifests.untag('app', 'earlier')
          }
          return target[name](path, second)
        },
      })
      backup = new MemoryDriver(2 ** 24)
      await make(source)
      expect(await findings(backup)).toEqual([])
      expect(await findings(world.driver)).toEqual([])
    }
  })

  it('goes on without what is damaged or missing, and says so', async () => {
    await fill()
    const broken = await world.image('app', 'broken', {}, 'broken')
    await world.driver.write(blobPath(broken), 'damaged')
    const lost = await world.blob('app', content('lost', 100))
    await world.driver.remove(blobPath(lost))
    const problems: string[] = []
    await backUp(world.driver, backup, { problem: (what) => problems.push(what) })
    expect(problems.sort()).toEqual(
      [`${formatDigest(broken)}: what is stored is damaged`, `${formatDigest(lost)}: it is not there`].sort(),
    )
    expect(await findings(backup)).toEqual([])
    const paths = Object.keys(await filesOf(backup))
    expect(paths).not.toContain(layerLinkPath('app', lost))
    expect(paths.some((path) => path.includes('/tags/broken/'))).toBe(false)
  })
})

describe('a restore', () => {
  it('takes no backup that was not finished, or that was changed', async () => {
    await fill()
    await make()
    const whole = Buffer.from((await backup.read(LEDGER, 2 ** 24)) ?? '').toString()
    const lines = whole.trimEnd().split('\n')
    for (const [name, text] of Object.entries({
      'cut off': whole.slice(0, whole.length / 2),
      'without its seal': `${lines.slice(0, -1).join('\n')}\n`,
      'with a line less': `${[lines[0], ...lines.slice(2)].join('\n')}\n`,
      'with a path that leads out': whole.replace('docker/registry/v2/blobs', 'docker/registry/v2/blobs/../../../..'),
      empty: '\n',
    })) {
      await backup.write(LEDGER, text)
      const target = new MemoryDriver(2 ** 24)
      await expect(restore(backup, target, { isMerge: false }), name).rejects.toThrow(LEDGER)
      expect(await target.list('')).toEqual([])
    }
    await backup.remove(LEDGER)
    await expect(restore(backup, new MemoryDriver(100), { isMerge: false })).rejects.toThrow('was not finished')
  })

  it('gives nothing a name that is not what was backed up', async () => {
    await fill()
    await make()
    const [damaged = ''] = Object.keys(await filesOf(backup, 'docker/registry/v2/blobs'))
    await backup.write(damaged, 'x')
    const target = new MemoryDriver(2 ** 24)
    await expect(restore(backup, target, { isMerge: false })).rejects.toThrow(`${damaged} is not what it was`)
    expect(await target.stat(damaged)).toBeUndefined()
    expect((await findings(target)).filter((finding) => !finding.includes('missing'))).toEqual([])
  })

  it('leaves a storage alone that is not empty, unless it is told to merge', async () => {
    await fill()
    await make()
    const other = new World()
    await other.image('own', 'own', {}, 'v1')
    await other.image('app', 'other', {}, 'v1')
    await expect(restore(backup, other.driver, { isMerge: false })).rejects.toThrow('--merge')
    await restore(backup, other.driver, { isMerge: true })
    expect(await other.manifests.tags('own', 10)).toEqual(['v1'])
    const [before, after] = [world, other].map(({ manifests }) => manifests.resolve('app', { tag: 'v1' }))
    expect(await after).toEqual(await before)
    expect(await findings(other.driver)).toEqual([])
  })

  it('goes on where it was broken off', async () => {
    await fill()
    await make()
    const target = new MemoryDriver(2 ** 24)
    let steps = 0
    const failing = new Proxy(target, {
      get: (driver, name: Exclude<keyof StorageDriver, 'presign'>) => async (path: string, second: never) => {
        if (++steps > 20) throw new Error('the power is gone')
        return driver[name](path, second)
      },
    })
    await expect(restore(backup, failing, { isMerge: false })).rejects.toThrow('power')
    expect((await findings(target)).length).toBe(0)
    await restore(backup, target, { isMerge: true })
    expect(await findings(target)).toEqual([])
    expect(await filesOf(target)).toEqual(await filesOf(backup).then(({ [LEDGER]: _, ...files }) => files))
  })
})
