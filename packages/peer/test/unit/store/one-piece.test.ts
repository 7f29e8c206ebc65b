import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addPiece, makeContent, makeStore, putBlob } from './kit.ts'

const { bytes, digest } = makeContent('one piece', 5000)
let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-one-piece-'))
})
afterEach(() => rm(dataDir, { recursive: true }))

describe('a blob of one piece', () => {
  it('is there again once it was published, with its piece map', async () => {
    const before = makeStore(dataDir).store
    await before.start()
    await putBlob(before, bytes)
    const map = await before.pieceMap(digest)
    await before.stop()
    const after = makeStore(dataDir).store
    await after.start()
    expect(after.find(digest)).toMatchObject({ isComplete: true, size: bytes.byteLength })
    expect(Buffer.from((await after.pieceMap(digest)) ?? []).equals(map ?? Buffer.alloc(0))).toBe(true)
    await after.stop()
  })

  it('leaves nothing behind when the node ends before it was published', async () => {
    const before = makeStore(dataDir).store
    await before.start()
    await addPiece(before, await before.create(digest, bytes.byteLength), 0, bytes)
    // As after a crash: nothing is written down.
    await before.index.stop()
    const after = makeStore(dataDir).store
    await after.start()
    expect(after.find(digest)).toBeUndefined()
    expect(await readdir(join(dataDir, 'partial'))).toEqual([])
    await after.stop()
    await before.stop().catch(() => {})
  })
})
