import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import {
  ask,
  pushImageBlobs,
  pushManifest,
  type RunningRegistry,
  startRegistry,
  temporaryFolder,
} from '../running-registry.ts'

const KEEP_PULLED = [{ repositories: ['app'], keepTags: [{ mostRecentlyPulledCount: 1 }] }]

let dataDir: string
let registry: RunningRegistry
const start = () =>
  startRegistry({
    dataDir,
    gc: { everyHours: 0, graceHours: 1e-6, untagged: 'remove' },
    retention: { policies: KEEP_PULLED },
    audit: { enabled: true, folder: join(dataDir, 'audit') },
  })
beforeEach(async () => {
  dataDir = await temporaryFolder()
  registry = await start()
})
afterEach(async () => {
  await registry.stop()
  await rm(dataDir, { recursive: true })
})

async function collect(): Promise<Record<string, unknown>> {
  expect((await ask(`${registry.metricsUrl}/api/v1/gc`, { method: 'POST' })).status).toBe(202)
  const last = async () => JSON.parse((await ask(`${registry.metricsUrl}/api/v1/gc`)).bytes.toString()).last
  await expect.poll(async () => (await last()).state).toBe('done')
  return last()
}

async function tags(): Promise<string[]> {
  return JSON.parse((await ask(`${registry.url}/v2/app/tags/list`)).bytes.toString()).tags
}

it('goes by what clients pulled, before a restart too, and says in the audit log what it removed', async () => {
  const digests = new Map<string, string>()
  for (const tag of ['a', 'b', 'c']) {
    const pushed = await pushManifest(registry.url, 'app', tag, await pushImageBlobs(registry.url, 'app', tag))
    digests.set(tag, pushed.digest)
  }
  // Runtimes pull by the digest that they got for the tag.
  expect((await ask(`${registry.url}/v2/app/manifests/${digests.get('b')}`)).status).toBe(200)
  await registry.stop()
  registry = await start()
  expect(await collect()).toMatchObject({ removedTags: 2 })
  expect(await tags()).toEqual(['b'])
  expect((await ask(`${registry.url}/v2/app/manifests/b`)).status).toBe(200)
  await registry.stop()
  const folder = join(dataDir, 'audit')
  const files = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name), 'utf8')))
  const lines = files
    .join('')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const deleted = lines.filter(({ action }) => action === 'delete')
  expect(deleted.map(({ repository, tag, userAgent }) => `${userAgent} ${repository}:${tag}`).sort()).toEqual([
    'shoal-retention app:a',
    'shoal-retention app:c',
  ])
  registry = await start()
})

it('refuses a policy that can not be read', async () => {
  const policies = [{ repositories: ['**'], keepTags: [{ patterns: ['('] }] }]
  await expect(startRegistry({ retention: { policies } })).rejects.toThrow('"(" is not a regular expression')
})
