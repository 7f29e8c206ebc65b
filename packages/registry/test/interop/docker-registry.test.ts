import { rm } from 'node:fs/promises'
import { MEDIA_TYPES } from '@shoal/core'
import { afterEach, expect, it } from 'vitest'
import { collectOffline, FilesystemDriver } from '../../src/index.ts'
import { ask, descriptor, pushImageBlobs, pushManifest, startRegistry, temporaryFolder } from '../running-registry.ts'
import { startDistribution } from './distribution.ts'
import { requireTool } from './tool.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function folder(): Promise<string> {
  const path = await temporaryFolder()
  cleanups.push(() => rm(path, { recursive: true, force: true }))
  return path
}

interface Pushed {
  readonly path: string
  readonly type: string | null
  readonly bytes: Buffer
}

/** Pushes an OCI image, a Docker image and a list of it; returns what a client sees of them. */
async function pushAll(url: string): Promise<Pushed[]> {
  const oci = await pushImageBlobs(url, 'lib/app', 'oci')
  const docker: Record<string, unknown> = {
    ...(await pushImageBlobs(url, 'lib/app', 'docker')),
    mediaType: MEDIA_TYPES.dockerManifest,
  }
  const references = ['oci', 'docker', 'list', 'index']
  const pushed = await pushManifest(url, 'lib/app', 'oci', oci)
  expect(pushed.answer.status).toBe(201)
  const child = await pushManifest(url, 'lib/app', 'docker', docker)
  expect(child.answer.status).toBe(201)
  const listOf = (mediaType: string, childType: string, { bytes }: { bytes: Buffer }) => ({
    schemaVersion: 2,
    mediaType,
    manifests: [{ ...descriptor(childType, bytes), platform: { os: 'linux', architecture: 'amd64' } }],
  })
  const list = await pushManifest(
    url,
    'lib/app',
    'list',
    listOf(MEDIA_TYPES.dockerList, MEDIA_TYPES.dockerManifest, child),
  )
  expect(list.answer.status).toBe(201)
  const index = await pushManifest(
    url,
    'lib/app',
    'index',
    listOf(MEDIA_TYPES.ociIndex, MEDIA_TYPES.ociManifest, pushed),
  )
  expect(index.answer.status).toBe(201)
  const digests = [pushed.digest, child.digest, list.digest, index.digest]
  const blobs = [oci, docker].flatMap(({ config, layers }) => [config, ...(layers as unknown[])]) as {
    digest: string
  }[]
  return seeAll(url, [
    ...[...references, ...digests].map((reference) => `/v2/lib/app/manifests/${reference}`),
    ...blobs.map(({ digest }) => `/v2/lib/app/blobs/${digest}`),
    '/v2/lib/app/tags/list',
    '/v2/_catalog',
  ])
}

async function seeAll(url: string, paths: readonly string[]): Promise<Pushed[]> {
  const accept = [MEDIA_TYPES.ociManifest, MEDIA_TYPES.ociIndex, MEDIA_TYPES.dockerManifest, MEDIA_TYPES.dockerList]
  return Promise.all(
    paths.map(async (path) => {
      const { status, headers, bytes } = await ask(url + path, { headers: { accept: accept.join(', ') } })
      expect([path, status]).toEqual([path, 200])
      const isList = path.endsWith('list') || path.endsWith('catalog')
      const type = headers.get('content-type')
      return isList ? { path, type: null, bytes: normal(bytes) } : { path, type, bytes }
    }),
  )
}

/** JSON with its lists in order: Distribution 2 does not order tags. */
function normal(json: Buffer): Buffer {
  const sorted = (_key: string, value: unknown) => (Array.isArray(value) ? [...value].sort() : value)
  return Buffer.from(JSON.stringify(JSON.parse(json.toString()), sorted))
}

it('a data folder that docker-registry wrote is served by ours', async (context) => {
  const program = requireTool('docker-registry', context)
  const dataDir = await folder()
  const theirs = await startDistribution(program, dataDir)
  cleanups.push(theirs.stop)
  const pushed = await pushAll(theirs.url)
  await theirs.stop()
  const ours = await startRegistry({ dataDir })
  cleanups.push(ours.stop)
  expect(
    await seeAll(
      ours.url,
      pushed.map(({ path }) => path),
    ),
  ).toEqual(pushed)
})

it('a data folder that ours wrote is served by docker-registry, which can delete in it', async (context) => {
  const program = requireTool('docker-registry', context)
  const dataDir = await folder()
  const ours = await startRegistry({ dataDir })
  cleanups.push(ours.stop)
  const pushed = await pushAll(ours.url)
  await ours.stop()
  const theirs = await startDistribution(program, dataDir)
  cleanups.push(theirs.stop)
  expect(
    await seeAll(
      theirs.url,
      pushed.map(({ path }) => path),
    ),
  ).toEqual(pushed)
  const digest = (await ask(`${theirs.url}/v2/lib/app/manifests/index`, { headers: { accept: MEDIA_TYPES.ociIndex } }))
    .headers
  const path = `/v2/lib/app/manifests/${digest.get('docker-content-digest')}`
  expect((await ask(theirs.url + path, { method: 'DELETE' })).status).toBe(202)
  await theirs.stop()
  const again = await startRegistry({ dataDir })
  cleanups.push(again.stop)
  expect((await ask(again.url + path)).status).toBe(404)
  expect((await ask(`${again.url}/v2/lib/app/manifests/oci`)).status).toBe(200)
})

it('what docker-registry wrote and deleted is collected by ours, after which it serves all that is left', async (context) => {
  const program = requireTool('docker-registry', context)
  const dataDir = await folder()
  const theirs = await startDistribution(program, dataDir)
  cleanups.push(theirs.stop)
  const gone = await pushManifest(theirs.url, 'lib/gone', 'v1', await pushImageBlobs(theirs.url, 'lib/gone', 'gone'))
  expect((await ask(`${theirs.url}/v2/lib/gone/manifests/${gone.digest}`, { method: 'DELETE' })).status).toBe(202)
  const pushed = await pushAll(theirs.url)
  await theirs.stop()
  const options = { graceMs: 0, untagged: 'remove', isDryRun: false } as const
  const collected = await collectOffline(new FilesystemDriver(dataDir), options)
  // Of the deleted image its manifest, config and layer.
  expect(collected).toMatchObject({ removedManifests: 0, removedLayers: 2, removedBlobs: 3, unreadable: [] })
  const again = await startDistribution(program, dataDir)
  cleanups.push(again.stop)
  expect(
    await seeAll(
      again.url,
      pushed.map(({ path }) => path),
    ),
  ).toEqual(pushed)
})
