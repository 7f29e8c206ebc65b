import { rm } from 'node:fs/promises'
import { MEDIA_TYPES } from '@shoal/core'
import { afterEach, expect, it } from 'vitest'
import { collectOffline } from '../../src/index.ts'
import { FilesystemDriver } from '../../src/storage/filesystem.ts'
import { ask, pushImageBlobs, pushManifest, startRegistry, temporaryFolder } from '../running-registry.ts'
import { startDistribution } from './distribution.ts'
import { expectSeen, pushAll } from './images.ts'
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

it('a data folder that docker-registry wrote is served by ours', async (context) => {
  const program = requireTool('docker-registry', context)
  const dataDir = await folder()
  const theirs = await startDistribution(program, dataDir)
  cleanups.push(theirs.stop)
  const pushed = await pushAll(theirs.url)
  await theirs.stop()
  const ours = await startRegistry({ dataDir })
  cleanups.push(ours.stop)
  await expectSeen(ours.url, pushed)
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
  await expectSeen(theirs.url, pushed)
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
  await expectSeen(again.url, pushed)
})
