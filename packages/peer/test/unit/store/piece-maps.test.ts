import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MIN_PIECE_BYTES, PieceLayout } from '@shoal/core'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { BlobStore } from '../../../src/store/store.ts'
import { addPiece, hasher, makeContent, makeStore, putBlob, sha256 } from './kit.ts'

const { bytes, digest } = makeContent('whole', 3 * MIN_PIECE_BYTES + 1)
const layout = new PieceLayout(bytes.byteLength)
const pieceMap = Buffer.concat(
  Array.from({ length: layout.count }, (_, piece) =>
    sha256(bytes.subarray(layout.offset(piece), layout.offset(piece) + layout.length(piece))),
  ),
)
/** As an earlier release wrote it, whose pieces were half as long. */
const olderMap = Buffer.alloc(2 * pieceMap.byteLength, 'x')

let dataDir: string
let store: BlobStore
let read: string[]

const openStore = async () => {
  read = []
  const hashUnhurried: typeof hasher.hashUnhurried = (file, ...rest) => {
    read.push(file)
    return hasher.hashUnhurried(file, ...rest)
  }
  store = makeStore(dataDir, {}, { hasher: { ...hasher, hashUnhurried } }).store
  await store.start()
}

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-maps-'))
  await openStore()
})
afterEach(async () => {
  await store.stop()
  await rm(dataDir, { recursive: true })
})

it('is made anew, once, where it is one of pieces of another size', async () => {
  await putBlob(store, bytes)
  await store.index.putPieceMap(digest, olderMap)
  const found = await Promise.all([store.pieceMap(digest), store.pieceMap(digest)])
  expect(found.map((map) => map && Buffer.from(map).equals(pieceMap))).toEqual([true, true])
  expect(read).toHaveLength(1)
  await store.stop()
  await openStore()
  expect(Buffer.from((await store.pieceMap(digest)) ?? [])).toEqual(pieceMap)
  expect(read).toEqual([])
})

it('is not made of a file that is not the blob, or can not be read', async () => {
  await putBlob(store, bytes)
  await store.index.putPieceMap(digest, olderMap)
  const { file } = store.find(digest) ?? { file: '' }
  const handle = await open(file, 'r+')
  await handle.write(Buffer.from([0xff, 0x00, 0xff]), 0, 3, 5)
  await handle.close()
  expect(await store.pieceMap(digest)).toBeUndefined()
  await rm(file)
  expect(await store.pieceMap(digest)).toBeUndefined()
  expect(Buffer.from((await store.index.pieceMap(digest)) ?? [])).toEqual(olderMap)
})

it('of what was kept in part comes from the pieces whose bytes are there, whatever else was written down', async () => {
  const blob = await store.create(digest, bytes.byteLength)
  await addPiece(store, blob, 1, bytes)
  const records = await open(`${blob.file}.pieces`, 'r+')
  await records.write(sha256(Buffer.from('a piece of another size')), 0, 32, 2 * 32)
  await store.stop()
  await openStore()
  expect([0, 1, 2, 3].map((piece) => store.find(digest)?.have.has(piece))).toEqual([false, true, false, false])
  await store.stop()
  // More of them than there are pieces: none of them is one of ours.
  await records.write(Buffer.alloc(32, 'x'), 0, 32, layout.count * 32)
  await records.close()
  await openStore()
  expect(store.find(digest)?.have.held).toBe(0)
})
