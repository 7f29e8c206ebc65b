import { closeSync, openSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FileReads } from '../../src/index.ts'

const content = Buffer.from('0123456789')
let folder: string
let fd: number
/** The clock moves on by `tookMs` between two looks at it. */
let tookMs: number
let nowMs: number
let reads: FileReads

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-file-reads-'))
  await writeFile(join(folder, 'file'), content)
  fd = openSync(join(folder, 'file'), 'r')
  tookMs = 0
  nowMs = 0
  reads = new FileReads(() => {
    const seen = nowMs
    nowMs += tookMs
    return seen
  })
})
afterEach(async () => {
  closeSync(fd)
  await rm(folder, { recursive: true })
})

test('what comes from memory is there at once', () => {
  const buffer = Buffer.alloc(6)
  expect(reads.read(fd, buffer, 2, 4, 3)).toBe(4)
  expect(buffer.toString()).toBe('\0\x003456')
})

test('after a slow read the thread pool reads, for a hundred times as long', async () => {
  const buffer = Buffer.alloc(10)
  tookMs = 5
  expect(reads.read(fd, buffer, 0, 10, 0)).toBe(10)
  tookMs = 0
  nowMs = 499
  const pooled = reads.read(fd, buffer, 0, 10, 5)
  expect(pooled).toBeInstanceOf(Promise)
  expect(await pooled).toBe(5)
  expect(buffer.toString('latin1', 0, 5)).toBe('56789')
  nowMs = 500
  expect(reads.read(fd, buffer, 0, 10, 0)).toBe(10)
})

test('the end of the file gives less, and then nothing, both ways', async () => {
  const buffer = Buffer.alloc(10)
  expect(reads.read(fd, buffer, 0, 10, 8)).toBe(2)
  expect(reads.read(fd, buffer, 0, 10, 10)).toBe(0)
  tookMs = 5
  reads.read(fd, buffer, 0, 1, 0)
  tookMs = 0
  expect(await reads.read(fd, buffer, 0, 10, 10)).toBe(0)
})

test('what can not be read is an error with the system code, both ways', async () => {
  const buffer = Buffer.alloc(1)
  const unopened = 1_000_000
  expect(() => reads.read(unopened, buffer, 0, 1, 0)).toThrow(expect.objectContaining({ code: 'EBADF' }))
  tookMs = 5
  reads.read(fd, buffer, 0, 1, 0)
  tookMs = 0
  await expect(reads.read(unopened, buffer, 0, 1, 0)).rejects.toMatchObject({ code: 'EBADF' })
})
