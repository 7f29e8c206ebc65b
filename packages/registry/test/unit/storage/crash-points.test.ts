import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf, isDigest, parseDigest } from '@shoal/core'
import { expect, it } from 'vitest'
import { BlobStore } from '../../../src/storage/blobs.ts'
import { ContentUses } from '../../../src/storage/content-uses.ts'
import type { Appender, StorageDriver } from '../../../src/storage/driver.ts'
import { FilesystemDriver } from '../../../src/storage/filesystem.ts'
import { ManifestStore } from '../../../src/storage/manifests.ts'
import { blobPath } from '../../../src/storage/paths.ts'
import { UploadStore } from '../../../src/storage/uploads.ts'
import { content, temporaryFolder } from '../../running-registry.ts'

const layer = content('crash layer', 5000)
const manifest = Buffer.from('{"any":"bytes do, for the store"}')
const layerDigest = parseDigest(digestOf(layer))
const sha512 = parseDigest(digestOf(layer, 'sha512'))
const manifestDigest = parseDigest(digestOf(manifest))

class Crash extends Error {}

/** A driver that dies before its `after`-th change; a write to a file then still gets half its bytes out. */
function dyingDriver(driver: StorageDriver, after: number): StorageDriver {
  let changes = 0
  const change = () => {
    if (changes++ >= after) throw new Crash()
  }
  const dying = (appender: Appender): Appender => ({
    get offset() {
      return appender.offset
    },
    write: async (chunks) => {
      if (changes === after) await appender.write([Buffer.concat(chunks).subarray(0, 100)])
      change()
      await appender.write(chunks)
    },
    commit: () => appender.commit(),
    close: () => appender.close(),
  })
  return {
    stat: (path) => driver.stat(path),
    read: (path, maxBytes) => driver.read(path, maxBytes),
    open: (path) => driver.open(path),
    list: (path) => driver.list(path),
    write: async (path, bytes) => {
      change()
      await driver.write(path, bytes)
    },
    append: async (path) => {
      change()
      return dying(await driver.append(path))
    },
    move: async (from, to) => {
      change()
      await driver.move(from, to)
    },
    remove: async (path) => {
      change()
      await driver.remove(path)
    },
  }
}

async function* once(bytes: Uint8Array) {
  yield bytes
}

/** One push of an image; says what was confirmed. */
async function push(driver: StorageDriver, confirm: (what: string) => void): Promise<void> {
  const blobs = new BlobStore(driver, new ContentUses())
  const uploads = new UploadStore(driver, blobs, { received: () => {} })
  const manifests = new ManifestStore(driver, new ContentUses())
  for (const digest of [layerDigest, sha512]) {
    const id = await uploads.start('app', digest.algorithm)
    await uploads.commit('app', id, digest, { body: once(layer) })
    confirm(digest.algorithm)
  }
  await manifests.put('app', manifestDigest, manifest)
  await manifests.tag('app', 'v1', manifestDigest)
  confirm('tag')
}

async function expectSound(folder: string): Promise<void> {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  for (const { name, parentPath } of files) {
    const path = join(parentPath, name)
    const blob = /\/blobs\/sha256\/..\/([0-9a-f]+)\/data$/.exec(path)
    if (blob !== null) expect(digestOf(await readFile(path))).toBe(`sha256:${blob[1]}`)
    if (name !== 'link') continue
    const text = await readFile(path, 'utf8')
    expect(isDigest(text)).toBe(true)
    await readFile(join(folder, blobPath(parseDigest(text))))
  }
}

it('leaves, at whichever change it dies, what was confirmed and nothing half-made; and the push can be repeated', async () => {
  let died = true
  let after = 0
  for (; died; after++) {
    const folder = await temporaryFolder()
    const driver = new FilesystemDriver(folder)
    const confirmed = new Set<string>()
    died = await push(dyingDriver(driver, after), (what) => confirmed.add(what)).then(
      () => false,
      (error: unknown) => {
        if (error instanceof Crash) return true
        throw error
      },
    )
    await expectSound(folder)
    const blobs = new BlobStore(driver, new ContentUses())
    const manifests = new ManifestStore(driver, new ContentUses())
    if (confirmed.has('sha256')) expect(await blobs.sizeOf('app', layerDigest)).toBe(layer.length)
    if (confirmed.has('sha512')) expect(await blobs.sizeOf('app', sha512)).toBe(layer.length)
    for (const tag of await manifests.tags('app', 10)) {
      const digest = await manifests.resolve('app', { tag })
      expect(digest === undefined ? undefined : await manifests.read('app', digest)).toEqual(manifest)
    }
    if (confirmed.has('tag')) expect(await manifests.tags('app', 10)).toEqual(['v1'])
    await push(driver, () => {})
    expect(await manifests.tags('app', 10)).toEqual(['v1'])
    expect(await blobs.sizeOf('app', sha512)).toBe(layer.length)
    await rm(folder, { recursive: true })
  }
  expect(after).toBeGreaterThan(15)
})
