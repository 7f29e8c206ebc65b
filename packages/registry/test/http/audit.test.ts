import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import {
  ask,
  content,
  metric,
  pushBlob,
  pushImageBlobs,
  pushManifest,
  type RunningRegistry,
  startRegistry,
  temporaryFolder,
} from '../running-registry.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function start(folder: string): Promise<RunningRegistry> {
  const registry = await startRegistry({ audit: { enabled: true, folder }, delete: { enabled: false } })
  cleanups.push(registry.dispose)
  return registry
}

it('says who did what, and what was refused, but not what was not found', async () => {
  const folder = await temporaryFolder()
  cleanups.push(() => rm(folder, { recursive: true }))
  const { url, stop } = await start(folder)
  const { digest } = await pushManifest(url, 'app', 'v1', await pushImageBlobs(url, 'app', 'audit'))
  await ask(`${url}/v2/app/manifests/v1`, { headers: { 'user-agent': 'test/1' } })
  await ask(`${url}/v2/app/manifests/absent`)
  await ask(`${url}/v2/app/manifests/v1?token=hidden`, { method: 'DELETE' })
  await stop()
  const [file = ''] = await readdir(folder)
  const lines = (await readFile(join(folder, file), 'utf8')).trimEnd().split('\n')
  const [, , push, pull, refused, ...more] = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  expect(more).toEqual([])
  const manifest = { kind: 'manifest', repository: 'app', digest, tag: 'v1', actor: null, outcome: 'done' }
  expect(push).toMatchObject({ action: 'push', method: 'PUT', ...manifest })
  expect(pull).toMatchObject({ action: 'pull', method: 'GET', userAgent: 'test/1', ...manifest })
  expect(pull?.address).toMatch(/^127\.0\.0\.1:[0-9]+$/)
  const path = '/v2/app/manifests/v1'
  expect(refused).toMatchObject({ action: 'delete', outcome: 'refused', status: 405, code: 'UNSUPPORTED', path })
  expect(lines.join()).not.toContain('hidden')
  expect(new Set([push, pull, refused].map((line) => line?.requestId)).size).toBe(3)
})

it('serves and takes content where no line can be written', async () => {
  const folder = await temporaryFolder()
  const { url, metricsUrl } = await start(folder)
  await rm(folder, { recursive: true })
  const bytes = content('no audit', 100)
  const digest = await pushBlob(url, 'app', bytes)
  expect((await ask(`${url}/v2/app/blobs/${digest}`)).bytes.equals(bytes)).toBe(true)
  await expect.poll(() => metric(metricsUrl, 'shoal_registry_audit_lines_total{outcome="lost"}')).toBe(2)
})
