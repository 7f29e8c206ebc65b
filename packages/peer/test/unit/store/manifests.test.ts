import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, digestOf } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ManifestStore } from '../../../src/store/manifests.ts'
import { UNLIMITED } from './kit.ts'

const log = createLogger('test', 'silent')
let dataDir: string
let oldKeys: string[]
const index = {
  async *keys(prefix: string) {
    yield* oldKeys.filter((key) => key.startsWith(prefix))
  },
  remove: async (key: string) => {
    oldKeys = oldKeys.filter((other) => other !== key)
  },
}
const open = async (options: Partial<typeof UNLIMITED> = {}, freeBytes = () => Number.MAX_SAFE_INTEGER) => {
  const store = new ManifestStore({ ...UNLIMITED, dataDir, ...options }, { index, log, freeBytes })
  await store.start()
  return store
}
const manifest = (i: number, size = 5000) => {
  const bytes = Buffer.alloc(size, ` ${i}`)
  return { digest: digestOf(bytes), bytes }
}
const put = (store: ManifestStore, { digest, bytes }: { digest: string; bytes: Buffer }) => store.put(digest, bytes)

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-manifests-'))
  oldKeys = []
})
afterEach(() => rm(dataDir, { recursive: true }))

describe('ManifestStore', () => {
  it('keeps manifests over a restart, for its user alone, and never gives damaged bytes', async () => {
    const store = await open()
    const one = manifest(1)
    await put(store, one)
    expect(Buffer.from((await store.get(one.digest)) ?? [])).toEqual(one.bytes)
    const file = join(dataDir, 'manifests', one.digest.replace(':', '-'))
    expect((await stat(file)).mode & 0o077).toBe(0)
    const again = await open()
    expect(Buffer.from((await again.get(one.digest)) ?? [])).toEqual(one.bytes)
    await writeFile(file, 'other')
    expect(await again.get(one.digest)).toBeUndefined()
    expect(again.bytes).toBe(0)
    expect(await again.get(digestOf('none'))).toBeUndefined()
  })

  it('stays within its bytes, and within a tenth of the quota: what was used longest ago goes', async () => {
    for (const options of [{ manifestBytes: 16_000 }, { quotaBytes: 160_000 }]) {
      const store = await open(options)
      const all = [1, 2, 3].map((i) => manifest(i))
      for (const one of all) await put(store, one)
      await store.get(all[0]?.digest ?? '')
      const next = manifest(4)
      await put(store, next)
      expect(store.bytes).toBe(15_000)
      const kept = await Promise.all([...all, next].map(async ({ digest }) => (await store.get(digest)) !== undefined))
      expect(kept).toEqual([true, false, true, true])
      await put(store, manifest(5, 16_001))
      expect(store.bytes).toBe(15_000)
      expect(await readdir(join(dataDir, 'manifests'))).toHaveLength(3)
      await rm(join(dataDir, 'manifests'), { recursive: true })
    }
  })

  it('shrinks to its bytes when it starts, and clears up what is none of its own', async () => {
    const store = await open()
    for (const i of [1, 2, 3]) await put(store, manifest(i))
    await writeFile(join(dataDir, 'manifests', 'x.tmp'), 'torn')
    oldKeys = ['manifest!sha256:1', 'blob!sha256:1']
    const smaller = await open({ manifestBytes: 11_000 })
    expect(smaller.bytes).toBe(10_000)
    expect(await readdir(join(dataDir, 'manifests'))).toHaveLength(2)
    expect(oldKeys).toEqual(['blob!sha256:1'])
  })

  it('keeps nothing on a disk that is nearly full', async () => {
    const store = await open({ minFreeBytes: 1000 }, () => 1200)
    await put(store, manifest(1))
    expect(store.bytes).toBe(0)
    await put(store, manifest(2, 200))
    expect(store.bytes).toBe(4096)
  })
})
