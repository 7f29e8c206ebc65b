import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { digestOf } from '@shoal/core'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { PieceReader } from '../../../src/download/reader.ts'
import { StoredBlob } from '../../../src/store/blob.ts'

const NEVER = new AbortController().signal
const content = Buffer.from(Uint32Array.from({ length: 400_000 }, (_, i) => i * 2_654_435_761).buffer)

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-reader-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function readerOf(bytes: Buffer): Promise<PieceReader> {
  const file = join(folder, 'blob')
  await writeFile(file, bytes)
  return PieceReader.open(new StoredBlob(digestOf(bytes), bytes.byteLength, file, true, 0), async () => {})
}

async function read(reader: PieceReader, start: number, end: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of reader.read({ start, end }, NEVER)) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

it('reads ranges in order, whatever their length', async () => {
  const reader = await readerOf(content)
  const ends = [0, 1, 524_287, 524_288, 1_000_000, content.byteLength - 1]
  for (const end of ends) expect((await read(reader, 0, end)).equals(content.subarray(0, end + 1))).toBe(true)
  expect((await read(reader, 700_001, 1_300_000)).equals(content.subarray(700_001, 1_300_001))).toBe(true)
  await reader.close()
})

it('reads nothing of an empty blob', async () => {
  const reader = await readerOf(Buffer.alloc(0))
  expect(await read(reader, 0, -1)).toEqual(Buffer.alloc(0))
  await reader.close()
})

it('may be left in the middle, and closed while it reads ahead', async () => {
  const reader = await readerOf(content)
  for await (const chunk of reader.read({ start: 0, end: content.byteLength - 1 }, NEVER)) {
    expect(chunk.equals(content.subarray(0, chunk.byteLength))).toBe(true)
    break
  }
  await reader.close()
})

it('says so when its file is shorter than the blob', async () => {
  const file = join(folder, 'short')
  await writeFile(file, content.subarray(0, 600_000))
  const blob = new StoredBlob(digestOf(content), content.byteLength, file, true, 0)
  const reader = PieceReader.open(blob, async () => {})
  await expect(read(reader, 0, content.byteLength - 1)).rejects.toMatchObject({ code: 'STORE_FAILED' })
  await reader.close()
})
