import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '@shoal/core'
import { Registry } from 'prom-client'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { DiskChecks } from '../../../src/download/disk-checks.ts'
import { DiskReaders } from '../../../src/download/disk-readers.ts'
import { createDownloadMetrics } from '../../../src/download/metrics.ts'
import { Rejections } from '../../../src/download/rejections.ts'
import { StoredBlob } from '../../../src/store/blob.ts'
import { hasher } from '../store/kit.ts'

const never = new AbortController().signal

describe('pieces that neighbours reject', () => {
  let nowMs: number
  let looked: string[]
  let running: number
  let most: number
  let damaged: Set<string>
  let rejections: Rejections

  beforeEach(() => {
    nowMs = 0
    looked = []
    damaged = new Set()
    running = 0
    most = 0
    rejections = new Rejections({
      recheck: async (digest, piece) => {
        most = Math.max(most, ++running)
        await Promise.resolve()
        running--
        looked.push(`${digest} ${piece}`)
        return !damaged.has(digest)
      },
      now: () => nowMs,
      log: createLogger('test', 'silent'),
    })
  })

  const settled = (count: number) => vi.waitFor(() => expect([looked.length, running]).toEqual([count, 0]))

  it('are looked at one after the other', async () => {
    for (let piece = 0; piece < 10; piece++) rejections.add('a', piece, 'peer')
    await settled(10)
    expect(most).toBe(1)
  })

  it('are looked at once a minute at the most while they are right, whoever lies', async () => {
    rejections.add('a', 0, 'liar')
    await settled(1)
    for (let lie = 0; lie < 1000; lie++) rejections.add('a', 0, `liar ${lie}`)
    nowMs = 59_999
    rejections.add('a', 0, 'liar')
    rejections.add('a', 1, 'peer')
    await settled(2)
    nowMs = 60_000
    rejections.add('a', 0, 'peer')
    await settled(3)
  })

  it('are not gathered without end', async () => {
    for (let piece = 0; piece < 1000; piece++) rejections.add('a', piece, 'liar')
    await settled(64)
  })

  it('are looked at no more once it is stopped', async () => {
    await rejections.stop()
    rejections.add('a', 0, 'peer')
    expect(looked).toEqual([])
  })
})

describe('a rejected piece, looked at on the disk', () => {
  const SIZE = 5 * 1024 * 1024
  const digest = 'sha256:x'

  async function readers(bytes: Buffer) {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-rejected-'))
    const file = join(folder, 'blob')
    await writeFile(file, bytes)
    const blob = new StoredBlob(digest, SIZE, file, true, 0)
    const right = Buffer.alloc(SIZE, 'right')
    await writeFile(join(folder, 'right'), right)
    const pieces = Array.from({ length: blob.layout.count }, (_, piece) => piece)
    const pieceMap = Buffer.concat(await hasher.hashPieces(join(folder, 'right'), SIZE, pieces, never))
    const held = new Map([[digest, blob]])
    const givenUp: string[] = []
    const checks = new DiskChecks({ store: { pieceMap: async () => pieceMap }, hasher, now: () => 0 })
    // As after the download.
    checks.verified(blob)
    const disk = new DiskReaders({
      store: {
        find: (which: string) => held.get(which),
        pin: () => () => {},
        touch: () => {},
        lost: async (lost: StoredBlob) => void held.delete(lost.digest),
      },
      checks,
      origin: {} as never,
      metrics: createDownloadMetrics(new Registry(), () => 0),
      log: createLogger('test', 'silent'),
      givenUp: (which) => givenUp.push(which),
    })
    return { disk, givenUp, clean: () => rm(folder, { recursive: true }) }
  }

  it('has the blob given up when it is wrong, though it was verified just now', async () => {
    const bytes = Buffer.alloc(SIZE, 'right')
    bytes[SIZE - 1] = 0
    const { disk, givenUp, clean } = await readers(bytes)
    expect(await disk.recheck(digest, 0, never)).toBe(true)
    expect(givenUp).toEqual([])
    expect(await disk.recheck(digest, 9, never)).toBe(false)
    expect(givenUp).toEqual([digest])
    expect(await disk.recheck(digest, 9, never)).toBe(true)
    await clean()
  })

  it('costs nothing but its hash when it is right, or is none of the blob, or of no blob', async () => {
    const { disk, givenUp, clean } = await readers(Buffer.alloc(SIZE, 'right'))
    for (const [which, piece] of [
      [digest, 0],
      [digest, 10],
      [digest, 2 ** 32 - 1],
      ['sha256:y', 0],
    ] as const) {
      expect(await disk.recheck(which, piece, never)).toBe(true)
    }
    expect(givenUp).toEqual([])
    await clean()
  })
})
