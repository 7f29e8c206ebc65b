import { rm } from 'node:fs/promises'
import { request } from 'node:http'
import { createLogger, digestOf } from '@shoal/core'
import { createMetricsRegistry } from '@shoal/core/service'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Events, type RegistryEvent } from '../../src/events.ts'
import { RateLimit } from '../../src/guards/rate-limit.ts'
import { StoredListings } from '../../src/listings/stored-listings.ts'
import { createRegistryMetrics } from '../../src/metrics.ts'
import { Quotas } from '../../src/quotas/quotas.ts'
import { baseRoutes } from '../../src/routes/base.ts'
import { blobRoutes } from '../../src/routes/blobs.ts'
import { manifestRoutes } from '../../src/routes/manifests.ts'
import { referrerRoutes } from '../../src/routes/referrers.ts'
import { catalogRoutes, tagRoutes } from '../../src/routes/tags.ts'
import { uploadRoutes, uploadsRoutes } from '../../src/routes/uploads.ts'
import { RegistryServer } from '../../src/server.ts'
import { BlobStore } from '../../src/storage/blobs.ts'
import { ContentUses } from '../../src/storage/content-uses.ts'
import { FilesystemDriver } from '../../src/storage/filesystem.ts'
import { ManifestStore } from '../../src/storage/manifests.ts'
import { Turns } from '../../src/storage/turns.ts'
import { UploadStore } from '../../src/storage/uploads.ts'
import { ask, content, pushBlob, pushImageBlobs, pushManifest, temporaryFolder } from '../running-registry.ts'

let folder: string
let server: RegistryServer
let base: string
let told: RegistryEvent[]
beforeEach(async () => {
  folder = await temporaryFolder()
  told = []
  const driver = new FilesystemDriver(folder)
  const blobs = new BlobStore(driver, new ContentUses())
  const manifests = new ManifestStore(driver, new ContentUses())
  const uploads = new UploadStore(driver, blobs, { received: () => {} })
  const turns = new Turns()
  const metrics = createRegistryMetrics(createMetricsRegistry())
  const log = createLogger('registry', 'silent')
  const events = new Events([async (event) => void told.push(event)])
  const facts = { get: async () => undefined, put: async () => {} }
  const listings = new StoredListings({ driver, manifests, facts })
  const routes = {
    base: baseRoutes,
    catalog: catalogRoutes(listings),
    blob: blobRoutes({ blobs, turns, metrics, events, log, mayDelete: true }),
    uploads: uploadsRoutes({ blobs, uploads, metrics, events }),
    upload: uploadRoutes({ blobs, uploads, metrics, events }),
    manifest: manifestRoutes({ blobs, manifests, turns, events, quotas: new Quotas([], driver), mayDelete: true }),
    tags: tagRoutes(listings),
    referrers: referrerRoutes(listings),
  }
  const rateLimit = new RateLimit({ readsPerMinute: 0, writesPerMinute: 0, exempt: [] })
  server = new RegistryServer(
    { host: '127.0.0.1', port: 0, trustedProxies: [], relativeUrls: true },
    { routes, guards: [], rateLimit, metrics, log },
  )
  await server.start()
  base = `http://127.0.0.1:${server.port}`
})
afterEach(async () => {
  await server.stop()
  await rm(folder, { recursive: true })
})

const last = () => told.at(-1)

it('tells of pushes, mounts, pulls and deletes, each once, with who asked', async () => {
  const image = await pushImageBlobs(base, 'app', 'events')
  const { digest: config } = image.config as { digest: string }
  expect(told.map(({ action, kind, digest }) => [action, kind, digest])).toEqual([
    ['push', 'blob', config],
    ['push', 'blob', (image.layers as { digest: string }[])[0]?.digest],
  ])
  expect(told[0]).toMatchObject({ repository: 'app', mediaType: 'application/octet-stream', sizeBytes: 200 })

  const { digest, bytes } = await pushManifest(base, 'app', 'v1', image)
  const manifest = { kind: 'manifest', repository: 'app', digest, tag: 'v1', sizeBytes: bytes.length }
  expect(last()).toMatchObject({ action: 'push', ...manifest, mediaType: image.mediaType })
  expect(last()?.request).toMatchObject({ method: 'PUT', host: new URL(base).host })
  expect(last()?.request.address).toMatch(/^127\.0\.0\.1:[0-9]+$/)

  await ask(`${base}/v2/other/blobs/uploads/?mount=${config}&from=app`, { method: 'POST' })
  expect(last()).toMatchObject({ action: 'mount', repository: 'other', fromRepository: 'app', digest: config })
  await ask(`${base}/v2/app/blobs/${config}`, { headers: { 'user-agent': 'test/1' } })
  await expect
    .poll(last)
    .toMatchObject({ action: 'pull', kind: 'blob', digest: config, request: { userAgent: 'test/1' } })
  await ask(`${base}/v2/app/manifests/v1`)
  await expect.poll(last).toMatchObject({ action: 'pull', ...manifest })
  await ask(`${base}/v2/app/manifests/v1`, { method: 'DELETE' })
  expect(last()).toMatchObject({ action: 'delete', kind: 'manifest', tag: 'v1' })
  await ask(`${base}/v2/app/manifests/${digest}`, { method: 'DELETE' })
  expect(last()).toMatchObject({ action: 'delete', kind: 'manifest', digest })
  await ask(`${base}/v2/app/blobs/${config}`, { method: 'DELETE' })
  expect(last()).toMatchObject({ action: 'delete', kind: 'blob', digest: config })
  expect(told).toHaveLength(9)
  expect(new Set(told.map((event) => event.request.id)).size).toBe(9)
})

it('tells nothing of what was refused, only looked at, or not sent to its end', async () => {
  const bytes = content('left early', 32 * 1024 * 1024)
  const digest = await pushBlob(base, 'app', bytes)
  told.length = 0
  const url = `${base}/v2/app/blobs/${digest}`
  await ask(url, { method: 'HEAD' })
  await ask(url, { headers: { 'if-none-match': `"${digest}"` } })
  await ask(`${base}/v2/app/blobs/${digestOf('absent')}`)
  await ask(`${base}/v2/app/manifests/absent`, { method: 'DELETE' })
  await new Promise<void>((resolve) => {
    const get = request(url, (response) => {
      response.once('data', () => get.destroy())
      response.once('close', resolve)
      response.on('error', () => {})
    })
    get.end()
  })
  await server.stop()
  expect(told).toEqual([])
})
