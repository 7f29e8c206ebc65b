import { afterEach, expect, test } from 'vitest'
import { httpExpect } from './kit/http.ts'
import { buildArtifact } from './kit/images.ts'
import { scrape, sumSeries } from './kit/metrics.ts'
import { describeWith } from './kit/missing.ts'
import { nodeMetric, originBytes, registryName } from './kit/network.ts'
import { type Launched, launch } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { pullImage } from './kit/pull-image.ts'
import { pushLayout } from './kit/push-layout.ts'
import { randomContent } from './kit/random-content.ts'
import { type Shoal, type ShoalNode, type ShoalScheduler, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024
const BLOB_BYTES = 64 * MIB
const PEERS = 3
/** A hung scheduler is noticed after 3 seconds; the rest is for a busy machine. */
const NOTICED_MS = 6000

/** One pull of a large blob by all peers at once, held back at the origin until it is let go. */
interface HeldPull {
  readonly digest: string
  readonly pulls: Promise<unknown>
}

describeWith(['busybox'], 'schedulers that fail', () => {
  const bed = createTestBed()
  let shoal: Shoal
  let restarted: Launched[] = []

  const nodes = () => [...shoal.seeds, ...shoal.peers]
  const getJson = async (url: string) => JSON.parse((await httpExpect(url, [200])).body.toString())

  afterEach(async () => {
    await Promise.all(restarted.map((program) => program.stop()))
    restarted = []
    await shoal.stop()
  })

  /** Limits what a node fetches from the origin; 0: no limit. */
  const limitOrigin = async (node: ShoalNode, originBytesPerSecond: number) => {
    const limits = { uploadBytesPerSecond: 0, downloadBytesPerSecond: 0, originBytesPerSecond }
    const headers = { 'content-type': 'application/json' }
    await httpExpect(`${node.adminUrl}/api/v1/limits`, [200], { method: 'PUT', headers, body: JSON.stringify(limits) })
  }
  const letGo = () => Promise.all(nodes().map((node) => limitOrigin(node, 0)))

  /** Pushes a blob, has all peers pull it, slowly, and resolves when each of them has some of it. */
  const pullSlowly = async (repository: string): Promise<HeldPull> => {
    const content = Buffer.concat([...randomContent(repository, BLOB_BYTES)])
    await pushLayout(shoal.registry.url, repository, '1', await buildArtifact(await bed.folder(repository), [content]))
    await Promise.all(nodes().map((node) => limitOrigin(node, MIB)))
    const namespace = registryName(shoal)
    const pulls = Promise.all(shoal.peers.map(({ mirrorUrl }) => pullImage(mirrorUrl, repository, '1', { namespace })))
    pulls.catch(() => {})
    const held = async (node: ShoalNode) => {
      const { downloads } = await getJson(`${node.adminUrl}/api/v1/downloads`)
      return downloads.find(({ size }: { size: number }) => size === BLOB_BYTES)
    }
    await expect
      .poll(async () => (await Promise.all(shoal.peers.map(held))).map((each) => each?.held > 2), { timeout: 60_000 })
      .toEqual(Array(PEERS).fill(true))
    return { digest: (await held(shoal.peers[0] as ShoalNode)).digest, pulls }
  }

  /** How many nodes wait for a blob at this scheduler. */
  const waitingAt = async ({ adminUrl }: ShoalScheduler, digest: string): Promise<number> => {
    const { swarms } = await getJson(`${adminUrl}/api/v1/swarms`).catch(() => ({ swarms: [] }))
    return swarms.find((swarm: { digest: string }) => swarm.digest === digest)?.waiting ?? 0
  }
  /** Resolves when all peers wait for the blob at this scheduler; returns how long that took. */
  const untilOwner = async (scheduler: ShoalScheduler, digest: string): Promise<number> => {
    const beganMs = performance.now()
    await expect.poll(() => waitingAt(scheduler, digest), { timeout: 60_000, interval: 50 }).toBe(PEERS)
    return performance.now() - beganMs
  }
  /** The scheduler that the blob belongs to, and the other. */
  const ownerOf = async (digest: string): Promise<[owner: ShoalScheduler, other: ShoalScheduler]> => {
    const [a, b] = shoal.schedulers as [ShoalScheduler, ShoalScheduler]
    const counts = [await waitingAt(a, digest), await waitingAt(b, digest)]
    expect(counts.toSorted()).toEqual([0, PEERS])
    return counts[0] === PEERS ? [a, b] : [b, a]
  }
  /** Resolves when the blob has moved from the other scheduler to its own. */
  const untilBack = async (owner: ShoalScheduler, other: ShoalScheduler, digest: string) => {
    const counts = async () => [await waitingAt(owner, digest), await waitingAt(other, digest)]
    await expect.poll(counts, { timeout: 60_000 }).toEqual([PEERS, 0])
  }
  const startAgain = async ({ name, config }: ShoalScheduler) => {
    restarted.push(await launch(name, process.execPath, [SHOAL_PROGRAM, 'scheduler', '--config', config]))
  }
  const assignments = async ({ adminUrl }: ShoalScheduler) =>
    sumSeries(await scrape(`${adminUrl}/metrics`), 'shoal_scheduler_assignments_total')
  const fallbacks = async () => {
    const counts = await Promise.all(nodes().map((node) => nodeMetric(node, 'shoal_node_origin_fallbacks_total')))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  test('of two, one is killed in mid-pull: the other goes on, and it gets its blobs back', async () => {
    shoal = await startShoal(bed, { nodes: PEERS, args: ['--schedulers', '2'] })
    const { digest, pulls } = await pullSlowly('killed')
    const [owner, other] = await ownerOf(digest)
    process.kill(owner.pid, 'SIGKILL')
    expect(await untilOwner(other, digest)).toBeLessThan(3000)
    const assignedBefore = await assignments(other)
    await expect.poll(() => assignments(other), { timeout: 30_000 }).toBeGreaterThan(assignedBefore)

    await startAgain(owner)
    await untilBack(owner, other, digest)
    const assignedAnew = await assignments(owner)
    await letGo()
    await pulls
    expect(await assignments(owner)).toBeGreaterThan(assignedAnew)
    expect(await originBytes(shoal)).toBeLessThan(BLOB_BYTES * 1.05)
    expect(await fallbacks()).toBe(0)
  })

  test('without seeds, the one that fetches for all goes on to do so', async () => {
    shoal = await startShoal(bed, { nodes: PEERS, args: ['--schedulers', '2', '--seeds', '0'] })
    const { digest, pulls } = await pullSlowly('seedless')
    const [owner, other] = await ownerOf(digest)
    process.kill(owner.pid, 'SIGKILL')
    await untilOwner(other, digest)
    await letGo()
    await pulls
    expect(await originBytes(shoal)).toBeLessThan(BLOB_BYTES * 1.05)
    expect(await fallbacks()).toBe(0)
  })

  test('of two, one hangs in mid-pull: the other goes on, and it gets its blobs back when it goes on too', async () => {
    shoal = await startShoal(bed, { nodes: PEERS, args: ['--schedulers', '2'] })
    const { digest, pulls } = await pullSlowly('hung')
    const [owner, other] = await ownerOf(digest)
    process.kill(owner.pid, 'SIGSTOP')
    try {
      expect(await untilOwner(other, digest)).toBeLessThan(NOTICED_MS)
    } finally {
      process.kill(owner.pid, 'SIGCONT')
    }
    await untilBack(owner, other, digest)
    await letGo()
    await pulls
    expect(await originBytes(shoal)).toBeLessThan(BLOB_BYTES * 1.05)
    expect(await fallbacks()).toBe(0)
  })

  test('the only one is killed in mid-pull and started again: it takes the pull up where it is', async () => {
    shoal = await startShoal(bed, { nodes: PEERS })
    const { scheduler } = shoal
    const { digest, pulls } = await pullSlowly('restarted')
    process.kill(scheduler.pid, 'SIGKILL')
    await startAgain(scheduler)
    await untilOwner(scheduler, digest)
    const known = async () => (await getJson(`${scheduler.adminUrl}/api/v1/nodes`)).nodes.length
    await expect.poll(known, { timeout: 10_000 }).toBe(PEERS + 1)
    await letGo()
    await pulls
    expect(await assignments(scheduler)).toBeGreaterThan(0)
  })
})
