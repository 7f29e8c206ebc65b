import { createHash } from 'node:crypto'
import { PieceLayout } from '@shoal/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { DiskChecks } from '../../../src/download/disk-checks.ts'
import { StoredBlob } from '../../../src/store/blob.ts'

const SIZE = 20 * 1024 * 1024
const HOUR_MS = 60 * 60_000
const { count } = new PieceLayout(SIZE)
const { signal } = new AbortController()
const sha256Of = (text: string) => createHash('sha256').update(text).digest()

describe('checks of what is on disk', () => {
  let nowMs: number
  let hashed: number[][]
  let damaged: Set<number>
  let blob: StoredBlob
  let checks: DiskChecks

  beforeEach(() => {
    nowMs = 0
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

  it('tell a damaged piece from the right ones beside it', async () => {
    damaged.add(1)
    expect(await checks.isRight(blob, 0, signal)).toBe(true)
    expect(await checks.isRight(blob, 1, signal)).toBe(false)
    expect(await checks.isRight(blob, 2, signal)).toBe(true)
  })
})
