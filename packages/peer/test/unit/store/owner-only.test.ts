import { chmod, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { BlobStore } from '../../../src/store/store.ts'
import { addPiece, makeContent, makeStore, putBlob } from './kit.ts'

let dataDir: string
let store: BlobStore

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-modes-'))
  store = makeStore(dataDir).store
  await store.start()
})
afterEach(async () => {
  await store.stop()
  await rm(dataDir, { recursive: true })
})

/** What others may do with what the store wrote, by path. */
async function open(): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const entry of await readdir(dataDir, { recursive: true })) {
    // LevelDB's own files are within a folder that is closed.
    if (entry.startsWith('index/')) continue
    const { mode } = await stat(join(dataDir, entry))
    if ((mode & 0o077) !== 0) found[entry] = (mode & 0o777).toString(8)
  }
  return found
}

it('what a node caches is for its own user alone', async () => {
  const part = makeContent('in part', 1500 * 1024)
  const blob = await store.create(part.digest, part.bytes.length)
  await addPiece(store, blob, 0, part.bytes)
  const whole = makeContent('whole', 1500 * 1024)
  await putBlob(store, whole.bytes)
  expect(await open()).toEqual({})
})

it('what an earlier release left open is closed at the start', async () => {
  const { bytes, digest } = makeContent('whole', 1500 * 1024)
  await putBlob(store, bytes)
  const part = makeContent('in part', 1500 * 1024)
  const blob = await store.create(part.digest, part.bytes.length)
  await addPiece(store, blob, 0, part.bytes)
  const files = [store.find(digest)?.file ?? '', blob.file]
  await store.stop()
  for (const folder of ['index', 'blobs', 'partial']) await chmod(join(dataDir, folder), 0o755)
  for (const file of files) await chmod(file, 0o644)
  store = makeStore(dataDir).store
  await store.start()
  expect(await open()).toEqual({})
})
