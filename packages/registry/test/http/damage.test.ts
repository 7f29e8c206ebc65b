import { open, readdir, truncate, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { parseDigest } from '@shoal/core'
import { afterEach, describe, expect, it } from 'vitest'
import { blobPath } from '../../src/storage/paths.ts'
import { ask, content, errorOf, metric, pushBlob, type RunningRegistry, startRegistry } from '../running-registry.ts'

const MIB = 1024 * 1024
const running: RunningRegistry[] = []
afterEach(async () => {
  for (const each of running.splice(0)) await each.dispose()
})

async function start(values: Record<string, unknown> = {}): Promise<RunningRegistry> {
  const registry = await startRegistry(values)
  running.push(registry)
  return registry
}

const fileOf = ({ dataDir }: RunningRegistry, digest: string) => join(dataDir, blobPath(parseDigest(digest)))

/** Changes one byte, and sets the time of change back. */
async function flip(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+')
  const { atime, mtime } = await file.stat()
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at)
  await file.write(Buffer.from([(buffer[0] ?? 0) ^ 1]), 0, 1, at)
  await file.close()
  await utimes(path, atime, mtime)
}

const DAMAGES: [what: string, damage: (path: string) => Promise<void>][] = [
  ['with a byte that flipped', (path) => flip(path, 1000)],
  ['that was cut', (path) => truncate(path, 2000)],
]

describe.each(DAMAGES)('a stored blob %s', (_what, damage) => {
  it('is not served, of a few MiB, and can be pushed again', async () => {
    const registry = await start()
    const bytes = content('small', 3 * MIB)
    const digest = await pushBlob(registry.url, 'app', bytes)
    const url = `${registry.url}/v2/app/blobs/${digest}`
    expect((await ask(url)).status).toBe(200)
    await damage(fileOf(registry, digest))
    expect(errorOf(await ask(url, { headers: { range: 'bytes=0-9' } })).code).toBe('404 BLOB_UNKNOWN')
    expect((await ask(url, { method: 'HEAD' })).status).toBe(404)
    expect(await readdir(join(registry.dataDir, 'docker/registry/v2/quarantine/sha256'))).toEqual([digest.slice(7)])
    expect(await metric(registry.metricsUrl, 'shoal_registry_damaged_blobs_total')).toBe(1)
    await pushBlob(registry.url, 'app', bytes)
    expect((await ask(url)).bytes.equals(bytes)).toBe(true)
  })

  it('is not found by a registry that has only just started', async () => {
    const before = await start()
    const digest = await pushBlob(before.url, 'app', content('restart', 5000))
    await before.stop()
    await damage(fileOf(before, digest))
    const after = await start({ dataDir: before.dataDir })
    expect((await ask(`${after.url}/v2/app/blobs/${digest}`)).status).toBe(404)
  })
})

it('a large stored blob that is damaged breaks off before its end, and is not served any more', async () => {
  const registry = await start()
  const bytes = content('large', 9 * MIB)
  const digest = await pushBlob(registry.url, 'app', bytes)
  const url = `${registry.url}/v2/app/blobs/${digest}`
  await flip(fileOf(registry, digest), 1000)
  await expect(ask(url)).rejects.toThrow()
  expect((await ask(url)).status).toBe(404)
  await pushBlob(registry.url, 'app', bytes)
  expect((await ask(url)).bytes.equals(bytes)).toBe(true)
})

it('a registry that is read-only serves no damaged blob and leaves it where it is', async () => {
  const before = await start()
  const digest = await pushBlob(before.url, 'app', content('read-only', 5000))
  await before.stop()
  await flip(fileOf(before, digest), 0)
  const registry = await start({ dataDir: before.dataDir, readOnly: true })
  const url = `${registry.url}/v2/app/blobs/${digest}`
  for (let time = 0; time < 2; time++) expect((await ask(url)).status).toBe(404)
  expect(await readdir(join(registry.dataDir, 'docker/registry/v2'))).not.toContain('quarantine')
})
