import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { RECORDS_SUFFIX, readRecords, recordPiece, removeRecords } from '../../../src/store/piece-records.ts'

const sha256 = fc.uint8Array({ minLength: 32, maxLength: 32 }).filter((bytes) => bytes.some((byte) => byte !== 0))

let folder: string
let file: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-piece-records-'))
  file = join(folder, 'sha256-00')
})
afterEach(() => rm(folder, { recursive: true }))

test('what was recorded is read, in the order of the pieces, the last word on each', async () => {
  let runs = 0
  const written = fc.array(fc.tuple(fc.nat({ max: 99 }), sha256), { maxLength: 40 })
  await fc.assert(
    fc.asyncProperty(written, async (records) => {
      const other = `${file}-${runs++}`
      const last = new Map<number, Uint8Array>()
      for (const [piece, bytes] of records) {
        await recordPiece(other, piece, bytes)
        last.set(piece, bytes)
      }
      const expected = [...last].sort(([a], [b]) => a - b)
      expect(readRecords(other, 100).map(([piece, bytes]) => [piece, [...bytes]])).toEqual(
        expected.map(([piece, bytes]) => [piece, [...bytes]]),
      )
    }),
    { numRuns: 50 },
  )
})

test('records of a blob that has none, and those beyond its pieces, are none', async () => {
  expect(readRecords(file, 4)).toEqual([])
  await recordPiece(file, 7, new Uint8Array(32).fill(1))
  expect(readRecords(file, 4)).toEqual([])
  await writeFile(file + RECORDS_SUFFIX, '')
  expect(readRecords(file, 4)).toEqual([])
})

test('a record that a crash cut off is no other piece, and the ones before it stand', async () => {
  await recordPiece(file, 0, new Uint8Array(32).fill(1))
  await recordPiece(file, 1, new Uint8Array(32).fill(2))
  await truncate(file + RECORDS_SUFFIX, 50)
  const [first, second] = readRecords(file, 4)
  expect(first).toEqual([0, Buffer.alloc(32, 1)])
  expect(second?.[0]).toBe(1)
  expect(second?.[1]).not.toEqual(Buffer.alloc(32, 2))
})

test('they are deleted, and deleting them again is no error', async () => {
  await recordPiece(file, 0, new Uint8Array(32).fill(1))
  await removeRecords(file)
  await removeRecords(file)
  expect(await readdir(folder)).toEqual([])
})

test('a folder that is gone is an error of the store', async () => {
  await rm(folder, { recursive: true })
  await expect(recordPiece(file, 0, new Uint8Array(32))).rejects.toMatchObject({ code: 'IO' })
  await mkdir(folder)
})
