import { createHash } from 'node:crypto'
import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PieceLayout } from '@shoal/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { DiskChecks } from '../../../src/download/disk-checks.ts'
import { StoredBlob } from '../../../src/store/blob.ts'
import { hasher } from '../store/kit.ts'

const SIZE = 20 * 1024 * 1024
const HOUR_MS = 60 * 60_000
const { count } = new PieceLayout(SIZE)
const { signal } = new AbortController()
const sha256Of = (text: string) => createHash('sha256').update(text).digest()

describe('checks of what is on disk', () => {
  let nowMs: number
  let identity: string | undefined
  let hashed: number[][]
  let damaged: Set<number>
  let blob: StoredBlob
  let checks: DiskChecks

  beforeEach(() => {
    nowMs = 0
    identity = 'as it was'
    hashed = []
    damaged = new Set()
    blob = new StoredBlob('sha256:x', SIZE, '/file', true, 0)
    checks = new DiskChecks({
      store: {
        pieceMap: async () => Buffer.concat(Array.from({ length: count }, (_, piece) => sha256Of(`piece ${piece}`))),
      },
      hasher: {
        hashPieces: async (_file, _size, pieces) => {
          hashed.push([...pieces])
          return pieces.map((piece) => sha256Of(damaged.has(piece) ? 'damaged' : `piece ${piece}`))
        },
      },
      now: () => nowMs,
      identityOf: () => identity,
    })
  })

  it('hash what is read, some of it ahead, once', async () => {
    for (let piece = 0; piece < count; piece++) expect(await checks.isRight(blob, piece, signal)).toBe(true)
    expect(hashed.flat()).toEqual(Array.from({ length: count }, (_, piece) => piece))
    expect(hashed).toHaveLength(5)
  })

  it('hash nothing of what was verified just now, and all again after an hour', async () => {
    checks.verified(blob)
    damaged.add(3)
    nowMs = HOUR_MS - 1
    expect(await checks.isRight(blob, 3, signal)).toBe(true)
    expect(hashed).toEqual([])
    nowMs = HOUR_MS
    expect(await checks.isRight(blob, 3, signal)).toBe(false)
  })

  it('hash again what was verified just now when the file was written, cut or replaced since', async () => {
    checks.verified(blob)
    damaged.add(3)
    identity = 'written'
    expect(await checks.isRight(blob, 3, signal)).toBe(false)
    expect(await checks.isRight(blob, 0, signal)).toBe(true)
    const before = hashed.length
    expect(await checks.isRight(blob, 0, signal)).toBe(true)
    expect(hashed.length).toBe(before)
  })

  it('keep what was verified when the file is deleted, as who reads it has it open', async () => {
    checks.verified(blob)
    identity = undefined
    expect(await checks.isRight(blob, 3, signal)).toBe(true)
    expect(hashed).toEqual([])
  })

  it('hash a small blob again after ten seconds', async () => {
    const small = new StoredBlob('sha256:y', 4 * 1024 * 1024, '/file', true, 0)
    checks.verified(small)
    nowMs = 9999
    expect(await checks.isRight(small, 0, signal)).toBe(true)
    expect(hashed).toEqual([])
    nowMs = 10_000
    expect(await checks.isRight(small, 0, signal)).toBe(true)
    expect(hashed).toHaveLength(1)
  })

  it('notice what the system says of a file that was written in place, and of one that was cut', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-checks-'))
    try {
      const bytes = Buffer.alloc(SIZE, 'x')
      const file = join(folder, 'blob')
      await writeFile(file, bytes)
      const real = new StoredBlob('sha256:z', SIZE, file, true, 0)
      const pieces = Array.from({ length: count }, (_, piece) => piece)
      const pieceMap = Buffer.concat(await hasher.hashPieces(file, SIZE, pieces, signal))
      const onDisk = new DiskChecks({ store: { pieceMap: async () => pieceMap }, hasher, now: () => nowMs })
      onDisk.verified(real)
      expect(await onDisk.isRight(real, 1, signal)).toBe(true)
      const handle = await open(file, 'r+')
      await handle.write('flipped', real.layout.offset(1))
      await handle.close()
      expect(await onDisk.isRight(real, 1, signal)).toBe(false)
      expect(await onDisk.isRight(real, 0, signal)).toBe(true)
      await truncate(file, 1000)
      expect(await onDisk.isRight(real, 0, signal)).toBe(false)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('tell a damaged piece from the right ones beside it', async () => {
    damaged.add(1)
    expect(await checks.isRight(blob, 0, signal)).toBe(true)
    expect(await checks.isRight(blob, 1, signal)).toBe(false)
    expect(await checks.isRight(blob, 2, signal)).toBe(true)
  })
})
