import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '@shoal/core'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createStoreMetrics } from '../../../src/store/metrics.ts'
import { Scrubber } from '../../../src/store/scrubber.ts'
import type { BlobStore } from '../../../src/store/store.ts'
import { makeContent, makeStore, putBlob } from './kit.ts'

let dataDir: string
let store: BlobStore | undefined

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-index-'))
})
afterEach(async () => {
  await store?.stop()
  await rm(dataDir, { recursive: true })
})

const index = (...names: string[]) => join(dataDir, 'index', ...names)
const filesOf = async (part: string) =>
  (await readdir(index())).filter((name) => name.includes(part)).map((name) => index(name))

const DAMAGES: [what: string, damage: () => Promise<unknown>][] = [
  ['CURRENT is empty', () => truncate(index('CURRENT'), 0)],
  ['CURRENT is garbage', () => writeFile(index('CURRENT'), 'garbage')],
  ['CURRENT names a manifest that is not there', () => writeFile(index('CURRENT'), 'MANIFEST-999999\n')],
  ['CURRENT is not there', () => rm(index('CURRENT'))],
  [
    'CURRENT is a folder',
    async () => {
      await rm(index('CURRENT'))
      await mkdir(index('CURRENT'))
    },
  ],
  [
    'MANIFEST is empty',
    async () => {
      for (const file of await filesOf('MANIFEST')) await truncate(file, 0)
    },
  ],
  [
    'MANIFEST is garbage',
    async () => {
      for (const file of await filesOf('MANIFEST')) await writeFile(file, Buffer.alloc(500, 7))
    },
  ],
  [
    'a table is not there',
    async () => {
      for (const file of await filesOf('.ldb')) await rm(file)
    },
  ],
  [
    'a table is garbage',
    async () => {
      for (const file of await filesOf('.ldb')) await writeFile(file, Buffer.alloc(5000, 7))
    },
  ],
]

describe.each(DAMAGES)('an index of which %s', (_what, damage) => {
  it('is made anew; the blobs stay, and are taken up', async () => {
    const contents = [makeContent('one piece', 1000), makeContent('several pieces', 1500 * 1024)]
    store = makeStore(dataDir).store
    await store.start()
    for (const { bytes } of contents) await putBlob(store, bytes)
    await store.stop()
    // What was in the log is in a table then.
    store = makeStore(dataDir).store
    await store.start()
    await store.stop()
    await damage()
    store = makeStore(dataDir).store
    await store.start()
    const opened = store
    expect(opened.hasUnknownFiles).toBe(true)
    const scrubber = new Scrubber({
      scrub: (signal, report) => opened.scrub(signal, report),
      isDueAtStart: () => opened.hasUnknownFiles,
      metrics: createStoreMetrics(new Registry(), () => opened.view()),
      log: createLogger('test', 'silent'),
    })
    await scrubber.start()
    await vi.waitFor(() => expect(scrubber.status.state).toBe('done'))
    expect(scrubber.status).toMatchObject({ adopted: 2, damaged: 0, removed: 0 })
    for (const { bytes, digest } of contents) {
      expect(opened.find(digest)?.isComplete).toBe(true)
      expect((await opened.pieceMap(digest))?.byteLength).toBe(32 * Math.ceil(bytes.length / (512 * 1024)))
    }
  })
})

it('an index that another process uses is left alone, and called that', async () => {
  store = makeStore(dataDir).store
  await store.start()
  await putBlob(store, makeContent('kept', 1000).bytes)
  await expect(makeStore(dataDir).store.start()).rejects.toMatchObject({
    code: 'IN_USE_ELSEWHERE',
    message: expect.not.stringContaining('damaged'),
  })
  expect(store.summary().completeBlobs).toBe(1)
})

it('a new data folder, and one whose index is whole, have nothing to take up', async () => {
  for (let start = 0; start < 2; start++) {
    store = makeStore(dataDir).store
    await store.start()
    expect(store.hasUnknownFiles).toBe(false)
    if (start === 0) await putBlob(store, makeContent('known', 1000).bytes)
    await store.stop()
  }
})
