import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { collect, raceCollections } from '../gc-races.ts'
import { ask, content, pushBlob, type RunningRegistry, startRegistry } from '../running-registry.ts'

const SECONDS = Number(process.env.SHOAL_GC_SECONDS ?? 10)
const GRACE_MS = 1000
const gc = { everyHours: 0, graceHours: GRACE_MS / 3_600_000, untagged: 'remove' }

const running: RunningRegistry[] = []
afterEach(async () => {
  for (const each of running.splice(0)) await each.dispose()
})

async function start(values: Record<string, unknown> = {}): Promise<RunningRegistry> {
  const registry = await startRegistry({ gc, ...values })
  running.push(registry)
  return registry
}

/** Bytes of all blobs and manifests in the store. */
async function storedBytes({ dataDir }: RunningRegistry): Promise<number> {
  const folder = join(dataDir, 'docker/registry/v2/blobs')
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('/data'))
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

describe('garbage collection', () => {
  it('is begun, looked at, and tried without removing by the door for operators', async () => {
    const registry = await start({ gc: { ...gc, graceHours: 1e-7 } })
    await pushBlob(registry.url, 'app', content('never named', 5000))
    expect(JSON.parse((await ask(`${registry.metricsUrl}/api/v1/gc`)).bytes.toString())).toEqual({ last: null })
    expect((await ask(`${registry.metricsUrl}/api/v1/gc?dryRun=yes`, { method: 'POST' })).status).toBe(400)
    const removed = { state: 'done', removedLayers: 1, removedBlobs: 1, removedBytes: 5000, unreadable: [] }
    expect(await collect(registry, '?dryRun=true')).toMatchObject({ ...removed, isDryRun: true })
    expect(await storedBytes(registry)).toBe(5000)
    expect(await collect(registry)).toMatchObject({ ...removed, isDryRun: false })
    expect(await storedBytes(registry)).toBe(0)
  })

  it(
    `loses nothing that was confirmed and not deleted, for ${SECONDS} s of pushes, mounts and deletions at once`,
    async () => {
      const registry = await start()
      await raceCollections([registry], { seconds: SECONDS, storedBytes: () => storedBytes(registry) })
    },
    SECONDS * 1000 + 60_000,
  )
})
