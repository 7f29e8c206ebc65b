import { createLogger, digestOf, parseDigest } from '@shoal/core'
import { beforeEach, expect, it } from 'vitest'
import { BlobChecks } from '../../../src/storage/blob-checks.ts'
import type { StoredFile } from '../../../src/storage/driver.ts'

const BYTES = Buffer.from('some bytes')
const DIGEST = parseDigest(digestOf(BYTES))
let stored = { bytes: BYTES, changedAtMs: 1 as number | undefined }
let opened = 0
let nowMs = 0
let damaged: string[] = []
let checks: BlobChecks

beforeEach(() => {
  stored = { bytes: BYTES, changedAtMs: 1 }
  opened = 0
  nowMs = 0
  damaged = []
  checks = new BlobChecks({
    driver: { open: async () => file() },
    damaged: async ({ hex }) => void damaged.push(hex),
    log: createLogger('test', 'silent'),
    now: () => nowMs,
  })
})

function file(): StoredFile {
  const { bytes, changedAtMs } = stored
  opened++
  return {
    sizeBytes: bytes.byteLength,
    changedAtMs,
    chunks: async function* () {
      yield bytes
    },
    close: async () => {},
  }
}

const seen = () => ({ sizeBytes: stored.bytes.byteLength, changedAtMs: stored.changedAtMs })

it('reads a content once, however many ask, and believes itself for an hour', async () => {
  const verdicts = [checks.verdictOn(DIGEST, seen()), checks.verdictOn(DIGEST, seen())]
  expect(await Promise.all(verdicts)).toEqual(['right', 'right'])
  expect(opened).toBe(1)
  nowMs = 59 * 60_000
  expect(checks.verdictOn(DIGEST, seen())).toBe('right')
  nowMs = 61 * 60_000
  expect(await checks.verdictOn(DIGEST, seen())).toBe('right')
  expect(opened).toBe(2)
})

it('reads again what has changed, and says once that it is damaged', async () => {
  checks.noteRight(DIGEST, seen())
  expect(checks.verdictOn(DIGEST, seen())).toBe('right')
  stored = { bytes: Buffer.from('other text'), changedAtMs: 2 }
  expect(await Promise.all([1, 2].map(() => checks.verdictOn(DIGEST, seen())))).toEqual(['wrong', 'wrong'])
  expect(checks.verdictOn(DIGEST, seen())).toBe('wrong')
  expect(damaged).toEqual([DIGEST.hex])
  stored = { bytes: BYTES, changedAtMs: 3 }
  expect(await checks.verdictOn(DIGEST, seen())).toBe('right')
})

it('takes for right what a storage does not say the time of change of', () => {
  stored.changedAtMs = undefined
  expect(checks.verdictOn(DIGEST, seen())).toBe('right')
  expect(opened).toBe(0)
})
