import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf, parseDigest } from '@shoal/core'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { BlobStore } from '../../../src/storage/blobs.ts'
import { ContentUses } from '../../../src/storage/content-uses.ts'
import { FilesystemDriver } from '../../../src/storage/filesystem.ts'
import { uploadStartedAtPath, uploadsPath } from '../../../src/storage/paths.ts'
import { UploadStore } from '../../../src/storage/uploads.ts'
import { content, temporaryFolder } from '../../running-registry.ts'

let folder: string
let blobs: BlobStore
const openStore = () => {
  const driver = new FilesystemDriver(folder)
  blobs = new BlobStore(driver, new ContentUses())
  return new UploadStore(driver, blobs, { received: () => {} })
}
beforeEach(async () => {
  folder = await temporaryFolder()
})
afterEach(() => rm(folder, { recursive: true }))

async function* chunks(...bytes: Uint8Array[]) {
  yield* bytes
}
const day = 24 * 3_600_000
const never = new AbortController().signal

it.each(['sha256', 'sha512'] as const)('goes on in another process, by %s', async (algorithm) => {
  const bytes = content('restart', 300_000)
  const id = await openStore().start('app', algorithm)
  expect(await openStore().append('app', id, { body: chunks(bytes.subarray(0, 100_000)) })).toBe(100_000)
  expect(await openStore().offset('app', id)).toBe(100_000)
  const digest = parseDigest(digestOf(bytes, algorithm))
  const body = chunks(bytes.subarray(100_000))
  expect(await openStore().commit('app', id, digest, { body, range: { start: 100_000, end: 299_999 } })).toBe(300_000)
  expect(await blobs.sizeOf('app', digest)).toBe(300_000)
})

it('reads an upload again whose file grew behind its back, and finds what is wrong with it', async () => {
  const bytes = content('grew', 1000)
  const store = openStore()
  const id = await store.start('app')
  await store.append('app', id, { body: chunks(bytes.subarray(0, 500)) })
  await openStore().append('app', id, { body: chunks(content('other', 500)) })
  await expect(store.commit('app', id, parseDigest(digestOf(bytes)))).rejects.toMatchObject({ code: 'DIGEST_INVALID' })
  expect(await blobs.sizeOf('app', parseDigest(digestOf(bytes)))).toBeUndefined()
})

it('keeps what came before the source failed', async () => {
  const bytes = content('failing', 3_000_000)
  const store = openStore()
  const id = await store.start('app')
  async function* failing() {
    yield bytes.subarray(0, 2_500_000)
    yield bytes.subarray(2_500_000, 2_500_001)
    throw new Error('the client left')
  }
  await expect(store.append('app', id, { body: failing() })).rejects.toThrow('the client left')
  expect(await store.offset('app', id)).toBe(2_500_001)
  await store.commit('app', id, parseDigest(digestOf(bytes)), { body: chunks(bytes.subarray(2_500_001)) })
})

it('throws away what is older than the limit, and nothing else', async () => {
  const store = openStore()
  const now = Date.now()
  const old = await store.start('old/app', 'sha256', now - 8 * day)
  const young = await store.start('old/app', 'sha256', now - 6 * day)
  const unreadable = await store.start('app', 'sha256', now)
  await writeFile(join(folder, uploadStartedAtPath('app', unreadable)), 'yesterday')
  expect(await store.purge(now - 7 * day, never)).toBe(1)
  expect(await readdir(join(folder, uploadsPath('old/app')))).toEqual([young])
  expect(await readdir(join(folder, uploadsPath('app')))).toEqual([unreadable])
  await expect(store.offset('old/app', old)).rejects.toMatchObject({ code: 'BLOB_UPLOAD_UNKNOWN' })
})

it('does not throw away what is being written', async () => {
  const store = openStore()
  const id = await store.start('app', 'sha256', Date.now() - 8 * day)
  const gate = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  async function* slow() {
    begun.resolve()
    await gate.promise
    yield Buffer.from('late')
  }
  const appending = store.append('app', id, { body: slow() })
  await begun.promise
  expect(await store.purge(Date.now(), never)).toBe(0)
  gate.resolve()
  expect(await appending).toBe(4)
})
