import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf, HaveSet, PieceLayout } from '@shoal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hashGrowing } from '../../../src/workers/growing-hash.ts'
import { temporaryFolder } from '../lane/world.ts'

const content = Buffer.alloc(2_800_000, 'growing ')
const layout = new PieceLayout(content.byteLength)

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let file: string
beforeAll(async () => {
  folder = await temporaryFolder()
  file = join(folder.path, 'partial')
  await writeFile(file, content)
})
afterAll(() => folder.remove())

function growing(algorithm: 'sha256' | 'sha512' = 'sha256') {
  const have = new SharedArrayBuffer(HaveSet.byteLength(layout.count))
  const held = new HaveSet(layout.count, have)
  const progress = new Int32Array(new SharedArrayBuffer(4))
  const add = (piece: number) => {
    held.add(piece)
    Atomics.add(progress, 0, 1)
    Atomics.notify(progress, 0)
  }
  return { blob: { file, size: content.byteLength, algorithm, have, progress }, add }
}

describe('hashGrowing', () => {
  it.each(['sha256', 'sha512'] as const)(
    'has the %s when the last piece is there, in whatever order',
    async (algorithm) => {
      const { blob, add } = growing(algorithm)
      add(2)
      let isDone = false
      const hashing = hashGrowing(blob, AbortSignal.timeout(10_000)).finally(() => {
        isDone = true
      })
      for (const piece of [4, 0, 5, 1]) {
        await new Promise((resolve) => setImmediate(resolve))
        add(piece)
      }
      expect(isDone).toBe(false)
      add(3)
      expect(`${algorithm}:${await hashing}`).toBe(digestOf(content, algorithm))
    },
  )

  it('ends when it is aborted while it waits', async () => {
    const { blob, add } = growing()
    const stopping = new AbortController()
    const hashing = hashGrowing(blob, stopping.signal)
    add(0)
    stopping.abort()
    await expect(hashing).rejects.toMatchObject({ code: 'aborted' })
  })

  it('says that a file is gone, or too short', async () => {
    const { blob, add } = growing()
    for (let piece = 0; piece < layout.count; piece++) add(piece)
    const gone = { ...blob, file: join(folder.path, 'none') }
    await expect(hashGrowing(gone, AbortSignal.timeout(10_000))).rejects.toMatchObject({ code: 'local' })
    const short = join(folder.path, 'short')
    await writeFile(short, content.subarray(0, 2_000_000))
    await expect(hashGrowing({ ...blob, file: short }, AbortSignal.timeout(10_000))).rejects.toThrow('is shorter')
  })
})
