import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BlobStore } from '../../../src/store/store.ts'
import { addPiece, makeContent, makeStore, putBlob } from './kit.ts'
import { SmallDisk, whyNoTmpfs } from './tmpfs.ts'

const MIB = 1024 * 1024
const old = makeContent('old', 3 * MIB)
const next = makeContent('next', 2 * MIB)

describe.skipIf(whyNoTmpfs() !== undefined)('a store on a full disk', () => {
  let disk: SmallDisk
  let store: BlobStore

  const openStore = async (freeBytes?: () => number) => {
    ;({ store } = makeStore(disk.folder, {}, freeBytes === undefined ? {} : { freeBytes }))
    await store.start()
  }
  /** Statfs as it is where others have quotas: more seems free than can be written. */
  const lying = () => 64 * MIB

  beforeEach(async () => {
    disk = await SmallDisk.mount(8 * MIB)
  })
  afterEach(async () => {
    await store.stop()
    await disk.unmount()
  })

  it('evicts what is longest unused for a new blob', async () => {
    await openStore()
    await putBlob(store, old.bytes)
    disk.fill()
    const blob = await store.create(next.digest, next.bytes.byteLength)
    for (let piece = 0; piece < blob.layout.count; piece++) await addPiece(store, blob, piece, next.bytes)
    await store.publish(blob)
    expect(store.find(old.digest)).toBeUndefined()
    expect(await readFile(store.find(next.digest)?.file ?? '')).toEqual(next.bytes)
  })

  it('refuses a new blob when nothing may go', async () => {
    await openStore()
    await putBlob(store, old.bytes)
    store.pin(old.digest)
    disk.fill()
    await expect(store.create(next.digest, next.bytes.byteLength)).rejects.toMatchObject({ code: 'NO_SPACE' })
    expect(store.find(old.digest)?.isComplete).toBe(true)
  })

  it('evicts when a write of its own finds the disk full, and loses nothing that it wrote after', async () => {
    await openStore(lying)
    await putBlob(store, old.bytes)
    const blob = await store.create(next.digest, next.bytes.byteLength)
    disk.fill()
    // Small writes fit into the last block of the index's log for a while; the one that does not tears it.
    const write = (key: string) => store.index.put(key, Buffer.from(old.digest)).catch(() => {})
    for (let i = 0; i < 200; i++) await write(`tag ${i}`)
    expect(await store.index.get('tag 199')).toBeUndefined()
    await store.addPiece(blob, 0, Buffer.alloc(32, 7))
    expect(store.find(old.digest)).toBeUndefined()
    await write('later')
    await store.stop()
    await openStore(lying)
    expect(Buffer.from((await store.index.get('later')) ?? [])).toEqual(Buffer.from(old.digest))
    expect(store.find(next.digest)?.size).toBe(next.bytes.byteLength)
  })

  it('does not begin a blob whose index entry has no room, and leaves no file of it', async () => {
    await openStore(lying)
    disk.fill()
    for (let i = 0; i < 200; i++) await store.index.put(`x${i}`, Buffer.alloc(64)).catch(() => {})
    await expect(store.create(next.digest, next.bytes.byteLength)).rejects.toMatchObject({ code: 'NO_SPACE' })
    expect(store.find(next.digest)).toBeUndefined()
  })

  it('opens an index that has no room by giving up whole blobs where there are no others', async () => {
    await openStore(lying)
    await putBlob(store, old.bytes)
    await putBlob(store, next.bytes)
    await store.stop()
    disk.fill()
    await openStore(lying)
    expect([...store.complete()].map(({ digest }) => digest)).toEqual([next.digest])
  })

  it('opens an index that has no room by giving up unfinished blobs', async () => {
    await openStore(lying)
    const blob = await store.create(next.digest, next.bytes.byteLength)
    await addPiece(store, blob, 0, next.bytes)
    await store.stop()
    disk.fill()
    await openStore(lying)
    expect(store.find(next.digest)).toBeUndefined()
  })

  it('says that the disk is full when the index can not be opened and there is no blob to give up', async () => {
    await openStore(lying)
    await store.stop()
    disk.fill()
    ;({ store } = makeStore(disk.folder, {}, { freeBytes: lying }))
    await expect(store.start()).rejects.toMatchObject({ code: 'NO_SPACE' })
  })
})
