import { digestOf } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  ask,
  content,
  descriptor,
  pushBlob,
  pushImageBlobs,
  pushManifest,
  type RunningRegistry,
} from '../running-registry.ts'
import { APP, HUB, kept, manifestUrl, World } from './world.ts'

let world: World
beforeEach(async () => {
  world = await World.start()
})
afterEach(() => world.dispose())

describe('what nobody pulled for keepHours', () => {
  const collect = async (proxy: RunningRegistry) => {
    await fetch(`${proxy.metricsUrl}/api/v1/gc`, { method: 'POST' })
    for (;;) {
      const { last } = (await (await fetch(`${proxy.metricsUrl}/api/v1/gc`)).json()) as { last: { state: string } }
      if (last.state !== 'running') return last
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  const HOUR_MS = 3_600_000

  it('goes by garbage collection; what another image needs stays, and so does our own', async () => {
    // The same layer in both images.
    const shared = content('shared', 4000)
    const images: string[] = []
    const beganMs = performance.now()
    for (const repository of [APP, 'library/other']) {
      await pushBlob(world.upstream.url, repository, shared)
      const manifest = await pushImageBlobs(world.upstream.url, repository, repository)
      const layers = [...(manifest.layers as object[]), descriptor('application/vnd.oci.image.layer.v1.tar', shared)]
      images.push((await pushManifest(world.upstream.url, repository, 'v1', { ...manifest, layers })).digest)
    }
    // Longer than the pulls take that follow, however slow the machine is: the pushes were as much work.
    const keepMs = 400 + 4 * (performance.now() - beganMs)
    const keepHours = keepMs / HOUR_MS
    const proxy = await world.startProxy({ keepHours }, { gc: { graceHours: 1e-6 } })
    await pushManifest(proxy.url, 'own', 'v1', await pushImageBlobs(proxy.url, 'own', 'own'))
    const pull = async (repository: string, digest: string) => {
      const base = `${proxy.url}/v2/${HUB}/${repository}`
      const { bytes } = await ask(`${base}/manifests/v1`)
      expect(digestOf(bytes)).toBe(digest)
      const { layers } = JSON.parse(bytes.toString()) as { layers: { digest: string }[] }
      for (const layer of layers) expect((await ask(`${base}/blobs/${layer.digest}`)).status).toBe(200)
    }
    await pull(APP, images[0] ?? '')
    await pull('library/other', images[1] ?? '')
    await kept(proxy, digestOf(shared))
    expect(await collect(proxy)).toMatchObject({ state: 'done', removedTags: 0, removedManifests: 0 })
    await new Promise((resolve) => setTimeout(resolve, keepMs + 50))
    await ask(`${proxy.url}/v2/${HUB}/library/other/manifests/v1`, { method: 'HEAD' })
    expect(await collect(proxy)).toMatchObject({ state: 'done', removedTags: 1, removedManifests: 1 })
    await world.gate.close()
    await pull('library/other', images[1] ?? '')
    expect((await ask(manifestUrl(proxy, 'v1'))).status).toBe(503)
    expect((await ask(`${proxy.url}/v2/own/manifests/v1`)).status).toBe(200)
  }, 60_000)
})
