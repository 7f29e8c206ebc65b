import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PieceLayout } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hashUnhurried } from '../../../src/workers/hashing.ts'
import { makeContent } from '../store/kit.ts'

const never = new AbortController().signal
let folder: string
let file: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-hashing-'))
  file = join(folder, 'blob')
})
afterEach(() => rm(folder, { recursive: true }))

describe('hashUnhurried', () => {
  it.each([
    [0, 'sha256'],
    [1, 'sha256'],
    [1, 'sha512'],
    [512 * 1024, 'sha256'],
    [512 * 1024 + 1, 'sha256'],
    [3_000_000, 'sha512'],
  ] as const)('gives the digests of the whole and of each piece: %i bytes, %s', async (size, algorithm) => {
    const { bytes } = makeContent('hashed', size)
    await writeFile(file, bytes)
    const { hex, pieceMap } = await hashUnhurried({ file, size, algorithm }, never)
    expect(hex).toBe(createHash(algorithm).update(bytes).digest('hex'))
    const layout = new PieceLayout(size)
    const pieces = Array.from({ length: layout.count }, (_, piece) => {
      const start = layout.offset(piece)
      return createHash('sha256')
        .update(bytes.subarray(start, start + layout.length(piece)))
        .digest()
    })
    expect(Buffer.concat(pieces).equals(pieceMap)).toBe(true)
  })

  it('fails when the file is shorter, or not there, or nobody wants it any more', async () => {
    await writeFile(file, Buffer.alloc(300_000))
    await expect(hashUnhurried({ file, size: 300_001, algorithm: 'sha256' }, never)).rejects.toMatchObject({
      code: 'local',
    })
    const missing = { file: `${file}.not`, size: 1, algorithm: 'sha256' } as const
    await expect(hashUnhurried(missing, never)).rejects.toMatchObject({ code: 'local', data: { systemCode: 'ENOENT' } })
    const aborted = AbortSignal.abort()
    await expect(hashUnhurried({ file, size: 300_000, algorithm: 'sha256' }, aborted)).rejects.toMatchObject({
      code: 'aborted',
    })
  })
})
