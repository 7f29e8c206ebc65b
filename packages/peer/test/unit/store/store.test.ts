import { mkdtemp, open, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { digestOf, PieceLayout } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HeldBlobs } from '../../../src/lane/held-blobs.ts'
import type { StoredBlob } from '../../../src/store/blob.ts'
import type { BlobStore } from '../../../src/store/store.ts'
import { addPiece as addPieceTo, makeStore, sha256 } from './kit.ts'

const content = Buffer.alloc(1400 * 1024, 'shoal')
const digest = digestOf(content)
const layout = new PieceLayout(content.byteLength)

const pieceBytes = (piece: number) => {
  const start = layout.offset(piece)
  return content.subarray(start, start + layout.length(piece))
}

let dataDir: string
let store: BlobStore

const openStore = async () => {
  store = makeStore(dataDir).store
  await store.start()
  return store
}

const addPiece = (blob: StoredBlob, piece: number) => addPieceTo(store, blob, piece, content)

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-store-'))
  await openStore()
})
afterEach(async () => {
  await store.stop()
  await rm(dataDir, { recursive: true })
})

describe('BlobStore', () => {
  it('publishes a blob under its digest and finds it again', async () => {
    const moved: string[] = []
    store.follow({ moved: (of) => moved.push(of), withdrawn: () => {}, adopted: () => {} })
    const blob = await store.create(digest, content.byteLength)
    for (let piece = 0; piece < layout.count; piece++) await addPiece(blob, piece)
    await store.publish(blob)
    expect(moved).toEqual([digest])
    await store.stop()
    await openStore()
    const found = store.find(digest)
    expect(found?.isComplete).toBe(true)
    expect(found?.have.isComplete).toBe(true)
    expect(await readFile(found?.file ?? '')).toEqual(content)
    expect(Buffer.from((await store.pieceMap(digest)) ?? [])).toEqual(
      Buffer.concat([0, 1, 2].map((piece) => sha256(pieceBytes(piece)))),
    )
  })

  it('can be read by who never did before, at every moment of its being published', async () => {
    const blob = await store.create(digest, content.byteLength)
    for (let piece = 0; piece < layout.count; piece++) await addPiece(blob, piece)
    let isPublished = false
    const publishing = store.publish(blob).finally(() => {
      isPublished = true
    })
    while (!isPublished) {
      const held = { file: blob.file, nextFile: blob.nextFile, size: blob.size, have: blob.haveBuffer }
      const blobs = new HeldBlobs(async () => held)
      const open = await blobs.acquire(digest)
      expect(open).toBeDefined()
      blobs.forget(digest)
      if (open !== undefined) blobs.release(open)
    }
    await publishing
  })

  it('takes up the verified pieces of an earlier run, and only those', async () => {
    const blob = await store.create(digest, content.byteLength)
    await addPiece(blob, 0)
    await addPiece(blob, 2)
    await store.stop()
    const handle = await open(blob.file, 'r+')
    await handle.write(Buffer.from([0xff]), 0, 1, layout.offset(2) + 5)
    await handle.close()
    await openStore()
    const found = await store.create(digest, content.byteLength)
    expect([0, 1, 2].map((piece) => found.have.has(piece))).toEqual([true, false, false])
    await store.stop()
    await openStore()
    expect(store.find(digest)?.have.held).toBe(1)
  })

  it('takes up a blob that was renamed but not recorded as whole', async () => {
    const blob = await store.create(digest, content.byteLength)
    for (let piece = 0; piece < layout.count; piece++) await addPiece(blob, piece)
    const file = blob.file
    await store.publish(blob)
    const target = store.find(digest)?.file ?? ''
    await rename(target, `${target}.keep`)
    await store.discard(digest)
    const again = await store.create(digest, content.byteLength)
    expect(again.file).toBe(file)
    for (let piece = 0; piece < layout.count; piece++) await addPiece(again, piece)
    await store.stop()
    await rename(`${target}.keep`, target)
    await rm(file)
    await openStore()
    expect(store.find(digest)?.isComplete).toBe(true)
    expect((await store.pieceMap(digest))?.byteLength).toBe(3 * 32)
  })

  it('forgets what is no longer on disk as it was, and removes parts nobody knows', async () => {
    const blob = await store.create(digest, content.byteLength)
    for (let piece = 0; piece < layout.count; piece++) await addPiece(blob, piece)
    await store.publish(blob)
    const file = store.find(digest)?.file ?? ''
    await store.stop()
    await truncate(file, 10)
    await writeFile(join(dataDir, 'partial/sha256-unknown'), 'x')
    await openStore()
    expect(store.find(digest)).toBeUndefined()
    expect(await readdir(join(dataDir, 'partial'))).toEqual([])
  })

  it('makes one blob for concurrent callers and refuses another size', async () => {
    const [a, b] = await Promise.all([store.create(digest, 5), store.create(digest, 5)])
    expect(a).toBe(b)
    await expect(store.create(digest, 6)).rejects.toMatchObject({ code: 'SIZE_CONFLICT' })
  })

  it('says that another process uses the data folder', async () => {
    const second = makeStore(dataDir).store
    await expect(second.start()).rejects.toThrow(/another process uses this data folder/)
  })
})
