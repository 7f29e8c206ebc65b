import { afterAll, beforeAll, expect, test } from 'vitest'
import { httpExpect } from './kit/http.ts'
import { buildImage } from './kit/images.ts'
import { describeWith } from './kit/missing.ts'
import { hostsThrough, registryName } from './kit/network.ts'
import { type Launched, launch } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { pullImage } from './kit/pull-image.ts'
import { pushLayout } from './kit/push-layout.ts'
import { type Containerd, startContainerd } from './kit/runtimes/containerd.ts'
import { type Docker, startDocker } from './kit/runtimes/docker.ts'
import { type Shoal, type ShoalNode, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024
const LAYER_BYTES = 8 * MIB
const LAYERS = 3
/** So that a pull takes some seconds; and so many that one does not end before the other one's runtime gets to it. */
const SLOW_BYTES_PER_SECOND = 4 * MIB
const FIRST_BYTES_PER_SECOND = MIB / 2
const CRAWL_BYTES_PER_SECOND = 128 * 1024

describeWith(['busybox', 'containerd', 'docker'], 'real runtimes while a part of the network fails', () => {
  const bed = createTestBed()
  const restarted: Launched[] = []
  let shoal: Shoal
  let registry: string
  let containerd: Containerd
  let docker: Docker
  const peer = (index: number) => shoal.peers[index] as ShoalNode
  const seed = () => shoal.seeds[0] as ShoalNode
  /** The peers that the runtimes pull through. */
  const through = () => [peer(0), peer(1)]

  beforeAll(async () => {
    shoal = await startShoal(bed, { nodes: 3 })
    registry = registryName(shoal)
    const mirror = new URL(peer(1).mirrorUrl)
    containerd = await startContainerd(bed, { hosts: hostsThrough(shoal, peer(0)) })
    docker = await startDocker(bed, { insecureRegistries: [mirror.host] })
  })
  afterAll(() => Promise.all(restarted.map((program) => program.stop())))

  const limit = async (node: ShoalNode, limits: { upload?: number; origin?: number }) => {
    const { upload: uploadBytesPerSecond = 0, origin: originBytesPerSecond = 0 } = limits
    const body = JSON.stringify({ uploadBytesPerSecond, downloadBytesPerSecond: 0, originBytesPerSecond })
    const headers = { 'content-type': 'application/json' }
    await httpExpect(`${node.adminUrl}/api/v1/limits`, [200], { method: 'PUT', headers, body })
  }
  const limitOrigins = (origin: number) => Promise.all([seed(), ...shoal.peers].map((node) => limit(node, { origin })))

  const startAgain = async (service: 'seed' | 'scheduler', { name, config, adminUrl }: ServiceToStart) => {
    const program = await launch(name, process.execPath, [SHOAL_PROGRAM, service, '--config', config])
    restarted.push(program)
    await program.waitUntil('readiness', () => httpExpect(`${adminUrl}/readyz`, [200]).then(() => true))
  }

  const push = async (name: string) => {
    const extraLayers = Array.from({ length: LAYERS }, (_, i) => ({ sizeBytes: LAYER_BYTES, seed: `${name}-${i}` }))
    await pushLayout(
      shoal.registry.url,
      name,
      '1',
      await buildImage(await bed.folder(name), { line: name, extraLayers }),
    )
  }

  /** Bytes that a peer has of the layers that it is downloading. */
  const bytesUnderWay = async ({ adminUrl }: ShoalNode): Promise<number> => {
    const { body } = await httpExpect(`${adminUrl}/api/v1/downloads`, [200])
    const { downloads } = JSON.parse(body.toString()) as { downloads: readonly DownloadView[] }
    const active = downloads.filter(({ state, size }) => state === 'active' && size > LAYER_BYTES)
    return active.reduce((sum, { size, held, pieces }) => sum + (size * held) / pieces, 0)
  }

  /**
   * Pulls an image with both runtimes at once, strikes when some of it has come through both peers, and runs it.
   * @param limitTo limits what the pieces come from, to so much for each of the two pulls
   */
  const pullAndStrike = async (
    name: string,
    limitTo: (bytesPerSecond: number) => Promise<unknown>,
    strike: () => Promise<unknown>,
  ) => {
    await limitTo(FIRST_BYTES_PER_SECOND)
    const dockerReference = `${new URL(peer(1).mirrorUrl).host}/${name}:1`
    let ended = 0
    const pulls = Promise.all(
      [containerd.pull(`${registry}/${name}:1`), docker.pull(dockerReference)].map((pull) =>
        pull.finally(() => ended++),
      ),
    )
    pulls.catch(() => {})
    const bothHaveMoreThan = (bytes: number) =>
      expect
        .poll(async () => Math.min(...(await Promise.all(through().map(bytesUnderWay)))), {
          timeout: 30_000,
          interval: 20,
        })
        .toBeGreaterThan(bytes)
    await bothHaveMoreThan(0)
    await limitTo(SLOW_BYTES_PER_SECOND)
    await bothHaveMoreThan(LAYER_BYTES)
    expect(ended).toBe(0)
    await strike()
    await pulls
    expect(await containerd.run(`${registry}/${name}:1`)).toBe(`${name}\n`)
    expect(await docker.run(dockerReference)).toBe(`${name}\n`)
  }

  test('the parent stands still in mid-pull: containerd and Docker pull on from another', async () => {
    await push('stopped-parent')
    const parent = peer(2)
    await pullImage(parent.mirrorUrl, 'stopped-parent', '1', { namespace: registry })
    await limit(seed(), { upload: CRAWL_BYTES_PER_SECOND })
    try {
      await pullAndStrike(
        'stopped-parent',
        (rate) => limit(parent, { upload: 2 * rate }),
        async () => {
          process.kill(parent.pid, 'SIGSTOP')
          await limit(seed(), {})
        },
      )
    } finally {
      process.kill(parent.pid, 'SIGCONT')
    }
  })

  test('the scheduler is killed in mid-pull: containerd and Docker pull on', async () => {
    await push('killed-scheduler')
    await pullAndStrike('killed-scheduler', limitOrigins, async () => process.kill(shoal.scheduler.pid, 'SIGKILL'))
    await startAgain('scheduler', shoal.scheduler)
  })

  test('the seed is killed in mid-pull: containerd and Docker pull on', async () => {
    await push('killed-seed')
    await pullAndStrike('killed-seed', limitOrigins, async () => process.kill(seed().pid, 'SIGKILL'))
  })
})

interface ServiceToStart {
  readonly name: string
  readonly config: string
  readonly adminUrl: string
}

interface DownloadView {
  readonly state: string
  /** Bytes. */
  readonly size: number
  readonly pieces: number
  /** Pieces. */
  readonly held: number
}
