import { appendFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { buildArtifact } from './kit/images.ts'
import { scrape, sumSeries } from './kit/metrics.ts'
import { describeWith } from './kit/missing.ts'
import { nodeMetric, originBytes, registryName } from './kit/network.ts'
import { type Launched, launch } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { pullImage } from './kit/pull-image.ts'
import { pushLayout } from './kit/push-layout.ts'
import { randomContent } from './kit/random-content.ts'
import { type Shoal, type ShoalScheduler, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024
const BLOB_BYTES = 12 * MIB
const BLOBS = ['one', 'two', 'three']
const BYTES_PER_SECOND = 8 * MIB
const LOOK_MS = 50

describeWith(['busybox'], 'what a cluster may take from its origin', () => {
  const bed = createTestBed()
  let shoal: Shoal
  let restarted: Launched | undefined

  afterEach(async () => {
    await restarted?.stop()
    await shoal.stop()
  })

  /** Starts the scheduler again with more configuration, and waits until all nodes are there. */
  const restartWith = async (scheduler: ShoalScheduler, yaml: string) => {
    process.kill(scheduler.pid, 'SIGTERM')
    await appendFile(scheduler.config, yaml)
    restarted = await launch(scheduler.name, process.execPath, [
      SHOAL_PROGRAM,
      'scheduler',
      '--config',
      scheduler.config,
    ])
    const nodes = async () => sumSeries(await scrape(`${scheduler.adminUrl}/metrics`), 'shoal_scheduler_nodes')
    await expect.poll(() => nodes().catch(() => 0), { timeout: 30_000 }).toBe(shoal.peers.length + shoal.seeds.length)
  }

  test('is kept, in blobs at once and in bytes a second, while all peers pull several cold blobs', async () => {
    shoal = await startShoal(bed, { nodes: 3 })
    const [scheduler] = shoal.schedulers as [ShoalScheduler]
    await restartWith(scheduler, `\norigin: { maxFetches: 1, bytesPerSecond: ${BYTES_PER_SECOND} }\n`)
    for (const name of BLOBS) {
      const content = Buffer.concat([...randomContent(name, BLOB_BYTES)])
      await pushLayout(shoal.registry.url, name, '1', await buildArtifact(await bed.folder(name), [content]))
    }
    const namespace = registryName(shoal)
    const beganMs = performance.now()
    let isPulling = true
    const pulls = Promise.all(
      shoal.peers.flatMap(({ mirrorUrl }) => BLOBS.map((name) => pullImage(mirrorUrl, name, '1', { namespace }))),
    ).finally(() => {
      isPulling = false
    })
    pulls.catch(() => {})
    const most = { running: 0, waiting: 0 }
    while (isPulling) {
      const series = await scrape(`${scheduler.adminUrl}/metrics`)
      for (const state of ['running', 'waiting'] as const) {
        most[state] = Math.max(most[state], sumSeries(series, 'shoal_scheduler_origin_fetches', { state }))
      }
      await delay(LOOK_MS)
    }
    await pulls
    const seconds = (performance.now() - beganMs) / 1000
    const bytes = await originBytes(shoal)
    expect(most.running).toBe(1)
    expect(most.waiting).toBeGreaterThanOrEqual(1)
    expect(bytes).toBeLessThan(BLOBS.length * BLOB_BYTES * 1.05)
    // A tenth of a second's worth may come at once.
    expect(bytes / seconds).toBeLessThan(BYTES_PER_SECOND * 1.1)
    const fallbacks = shoal.peers.map((peer) => nodeMetric(peer, 'shoal_node_origin_fallbacks_total'))
    expect(await Promise.all(fallbacks)).toEqual([0, 0, 0])
  })
})
