import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { StoredBlob } from '../../../src/store/blob.ts'
import { RollingScrub } from '../../../src/store/rolling-scrub.ts'
import { makeContent, makeStore, metricOf, putBlob } from './kit.ts'

const DAY_MS = 86_400_000

/** Runs a scrub for so many turns, of blobs of one size; returns what was checked and how long it waited. */
async function turns(count: number, digests: readonly string[], days: number) {
  const checked: string[] = []
  let waitedMs = 0
  let steps = 0
  const scrub: RollingScrub = new RollingScrub(days, {
    blobs: () => digests.map((digest) => new StoredBlob(digest, 1024 ** 2, '/file', true, 0)),
    check: async ({ digest }) => void checked.push(digest),
    pause: async (ms) => {
      waitedMs += ms
      if (++steps > count) await new Promise((resolve) => stopped.then(resolve))
    },
    random: () => 0.5,
  })
  let stop = () => {}
  const stopped = new Promise<void>((resolve) => {
    stop = resolve
  })
  await scrub.start()
  while (days > 0 && steps <= count) await new Promise((resolve) => setImmediate(resolve))
  const stopping = scrub.stop()
  stop()
  await stopping
  return { checked: checked.slice(0, count), waitedMs }
}

describe('the scrub that always runs', () => {
  it('checks each blob once in its period, from a place that chance names', async () => {
    // More than an hour apart is looked for anew, so that blobs which come wait no longer.
    const digests = Array.from({ length: 240 }, (_, i) => `sha256:${String(i).padStart(3, '0')}`)
    const { checked, waitedMs } = await turns(240, digests, 2)
    expect([...checked].sort()).toEqual(digests)
    expect(checked[0]).toBe('sha256:120')
    expect(Math.abs(waitedMs - 2 * DAY_MS)).toBeLessThan(DAY_MS / 24)
  })

  it('does nothing when it is off', async () => {
    expect(await turns(1, ['sha256:a'], 0)).toEqual({ checked: [], waitedMs: 0 })
  })

  it('discards a blob whose bytes were flipped, and one that was cut, and keeps the others', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'shoal-rolling-'))
    const { store, registry } = makeStore(dataDir)
    try {
      await store.start()
      const digests: string[] = []
      for (const name of ['right', 'flipped', 'cut']) {
        digests.push(await putBlob(store, makeContent(name, 700 * 1024).bytes))
      }
      const [right, flipped, cut] = digests.map((digest) => store.find(digest) as StoredBlob)
      const handle = await open(flipped?.file ?? '', 'r+')
      await handle.write('flipped', 600 * 1024)
      await handle.close()
      const shorter = await open(cut?.file ?? '', 'r+')
      await shorter.truncate(1000)
      await shorter.close()
      for (const blob of [right, flipped, cut]) await store.check(blob as StoredBlob, new AbortController().signal)
      expect(digests.map((digest) => store.find(digest) !== undefined)).toEqual([true, false, false])
      expect(await metricOf(registry, 'shoal_store_scrubbed_blobs_total', { result: 'damaged' })).toBe(2)
    } finally {
      await store.stop()
      await rm(dataDir, { recursive: true })
    }
  })
})
