import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '@shoal/bench'
import { digestOf } from '@shoal/core'
import { AdminServer, createMetricsRegistry } from '@shoal/core/service'
import { beforeAll, describe, expect, test } from 'vitest'
import { buildArtifact, buildImage, HOST_ARCHITECTURE } from './kit/images.ts'
import { blobPath, type Layout } from './kit/layout.ts'
import { parseSeries, scrape, sumSeries } from './kit/metrics.ts'
import { describeWith, whyMissing } from './kit/missing.ts'
import { mountsUnder } from './kit/mounts.ts'
import { launch, run } from './kit/process.ts'
import { pullImage } from './kit/pull-image.ts'
import { pushLayout } from './kit/push-layout.ts'
import { RIVAL_LOGIN, type RivalRegistry, startRivalRegistry } from './kit/rival-registry.ts'
import { CRI_NAMESPACE, startContainerd } from './kit/runtimes/containerd.ts'
import { startDocker } from './kit/runtimes/docker.ts'
import { setUpPodman } from './kit/runtimes/podman.ts'
import { skopeoCopy, skopeoInspectRaw } from './kit/runtimes/skopeo.ts'
import { parseShoalUp } from './kit/shoal.ts'
import { createTestBed, TestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024
const LINE = 'a shoal of sardines'

describe('processes', () => {
  test('a program that ends early is an error that shows what it wrote', async () => {
    const program = await launch('echoer', 'sh', ['-c', 'echo out; echo why >&2; exit 3'])
    await expect(program.waitForLine(/never/)).rejects.toThrow(/code 3(.|\n)*why/)
    expect(await program.exited).toEqual({ code: 3, signal: null })
    await expect(launch('nothing', '/no/such/program', [])).rejects.toThrow(/can not start/)
  })

  test('a stop kills the whole group of a program that does not listen', async () => {
    const program = await launch('deaf', 'sh', ['-c', 'trap "" TERM; echo ready; sleep 600 & sleep 600; sleep 600'])
    await program.waitForLine(/^ready$/, { stream: 'stdout' })
    expect(await program.stop('SIGTERM', 50)).toEqual({ code: null, signal: 'SIGKILL' })
    await expect.poll(() => program.leftBehind()).toEqual([])
  })

  test('a condition is awaited, and its absence is an error', async () => {
    const program = await launch('toucher', 'sh', ['-c', 'echo done; sleep 600'])
    const isDone = async () => program.output.text() === 'done'
    await program.waitUntil('the word', isDone)
    await expect(program.waitUntil('such miracle', async () => false, 100)).rejects.toThrow(
      /no such miracle within 100 ms/,
    )
    await program.stop()
  })

  test('a child that outlives its program is seen', async () => {
    const program = await launch('orphaner', 'sh', ['-c', 'sleep 600 & echo $!'])
    await program.exited
    expect(await program.leftBehind()).toEqual([Number(program.output.text())])
    await program.stop()
    await expect.poll(() => program.leftBehind()).toEqual([])
  })

  test('a command that fails or takes too long is an error that shows what it wrote', async () => {
    await expect(run('sh', ['-c', 'echo spoken; exit 1'])).rejects.toThrow(/code 1(.|\n)*spoken/)
    await expect(run('sh', ['-c', 'echo begun; sleep 600'], { timeoutMs: 300 })).rejects.toThrow(/300 ms(.|\n)*begun/)
    await expect(run('/no/such/program', [])).rejects.toThrow(/can not start/)
    expect((await run('cat', [], { input: 'given' })).stdout).toBe('given')
  })

  test('a port that nothing listens on', async () => {
    expect(await freePort()).toBeGreaterThan(1023)
  })

  test('a test bed undoes everything in reverse order, whatever fails', async () => {
    const bed = new TestBed()
    const folder = await bed.folder('mounted')
    const order: string[] = []
    bed.onTearDown(async () => order.push('first'))
    bed.onTearDown(async () => {
      throw new Error('second')
    })
    if (process.getuid?.() === 0) await run('mount', ['-t', 'tmpfs', 'tmpfs', folder])
    await expect(bed.tearDown()).rejects.toThrow('second')
    expect(order).toEqual(['first'])
    expect(await mountsUnder(folder)).toEqual([])
    await expect(stat(folder)).rejects.toThrow(/ENOENT/)
  })
})

describe('metrics', () => {
  const bed = createTestBed()

  test('Prometheus text is read and summed by labels', () => {
    const series = parseSeries('# HELP a b\na{x="1",y="}"} 2 1700000000\na{x="1",y="z"} 3\na{x="11"} 5\nb +Inf\n')
    expect(sumSeries(series, 'a', { x: '1' })).toBe(5)
    expect(sumSeries(series, 'a')).toBe(10)
    expect(series.get('b')).toBe(Number.POSITIVE_INFINITY)
    expect(() => parseSeries('<html>')).toThrow(/not a line/)
  })

  test('a metrics page is fetched', async () => {
    const options = { name: 'scraped', host: '127.0.0.1', port: 0 }
    const server = new AdminServer(options, { metrics: createMetricsRegistry(), notReady: () => undefined })
    await server.start()
    bed.use(server)
    const series = await scrape(`http://127.0.0.1:${server.port}/metrics`)
    expect(sumSeries(series, 'nodejs_version_info', { version: process.version })).toBe(1)
    await expect(scrape(`http://127.0.0.1:${server.port}/none`)).rejects.toThrow(/404/)
  })
})

describe('what shoal up prints', () => {
  const service = { pid: 7, config: '/c' }
  const node = { ...service, name: 'n', mirrorUrl: 'http://m', lane: 'l', libp2p: '/ip4', adminUrl: 'http://a' }
  const up = {
    registry: { ...service, url: 'http://r', metricsUrl: 'http://m' },
    schedulers: [{ ...service, name: 's', grpc: 'g', adminUrl: 'http://a' }],
    seeds: [node],
    peers: [node, node],
  }

  test('is read, and what it lacks is named', () => {
    expect(parseShoalUp(JSON.stringify(up)).peers).toHaveLength(2)
    const without = JSON.stringify({ ...up, peers: [{ ...node, lane: undefined }] })
    expect(() => parseShoalUp(without)).toThrow(/peers\.lane/)
  })
})

describe('reasons to skip', () => {
  test('name the package that brings what is missing', () => {
    const path = process.env.PATH
    process.env.PATH = '/nowhere'
    try {
      // sbin folders are always searched; skopeo is in none of them.
      expect(whyMissing(['skopeo'])).toMatch(/no skopeo: apt-get install .*skopeo/)
    } finally {
      process.env.PATH = path
    }
  })
})

describeWith(['busybox', 'docker-registry'], 'image fixtures by raw HTTP', () => {
  const bed = createTestBed()
  let registry: RivalRegistry
  beforeAll(async () => {
    registry = await startRivalRegistry(bed)
  })

  test('the same spec makes the same bytes', async () => {
    const spec = { line: LINE, extraLayers: [{ sizeBytes: 3 * MIB + 1 }, { sizeBytes: 5, encoding: 'tar' as const }] }
    const [one, other] = [await buildImage(await bed.folder('a'), spec), await buildImage(await bed.folder('b'), spec)]
    expect(one.root.digest).toBe(other.root.digest)
    const layers = await readdir(`${one.folder}/blobs/sha256`)
    expect(layers.length).toBe(5)
  })

  test('a large layer is pushed in one piece and in chunks, and pulled back whole', async () => {
    const spec = { line: LINE, extraLayers: [{ sizeBytes: 20 * MIB }] }
    const image = await buildImage(await bed.folder('large'), spec)
    await pushLayout(registry.url, 'one/put', '1', image)
    await pushLayout(registry.url, 'one/chunked', '1', image, { chunkBytes: 3 * MIB })
    const pulled = await pullImage(registry.url, 'one/put', '1')
    expect(pulled.digest).toBe(image.root.digest)
    expect(pulled.blobs.size).toBe(3)
    expect(pulled.blobBytes).toBeGreaterThan(20 * MIB)
    expect(await pullImage(registry.url, 'one/chunked', pulled.digest)).toEqual(pulled)
  })

  test('content that does not match its digest is found out', async () => {
    const artifact = await buildArtifact(await bed.folder('wrong'), [Buffer.from('right')])
    await pushLayout(registry.url, 'wrong', '1', artifact)
    const hex = digestOf('right').slice('sha256:'.length)
    await writeFile(
      join(registry.storageFolder, `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`),
      'wrong',
    )
    await expect(pullImage(registry.url, 'wrong', '1')).rejects.toMatchObject({ code: 'CONTENT_MISMATCH' })
  })

  test.each([undefined, 1])('blobs of no and of one byte (chunks of %s)', async (chunkBytes) => {
    const artifact = await buildArtifact(await bed.folder('tiny'), [Buffer.alloc(0), Buffer.from('x')])
    const repository = `tiny/${chunkBytes ?? 'whole'}`
    await pushLayout(registry.url, repository, '1', artifact, chunkBytes === undefined ? {} : { chunkBytes })
    const pulled = await pullImage(registry.url, repository, '1')
    expect([...pulled.blobs.values()].sort()).toEqual([0, 1, 2])
  })

  test.each(['oci', 'docker'] as const)('an index of two architectures (%s)', async (format) => {
    const architectures = ['amd64', 'arm64'] as const
    const image = await buildImage(await bed.folder('multi'), { line: LINE, format, architectures })
    await pushLayout(registry.url, `multi/${format}`, '1', image)
    const all = await pullImage(registry.url, `multi/${format}`, '1')
    const own = await pullImage(registry.url, `multi/${format}`, '1', { architecture: HOST_ARCHITECTURE })
    expect(all.digest).toBe(image.root.digest)
    expect([all.blobs.size, own.blobs.size]).toEqual([4, 2])
  })
})

describeWith(['busybox', 'docker-registry', 'skopeo', 'containerd', 'docker', 'podman'], 'real runtimes', () => {
  const bed = createTestBed()
  const NAME = 'registry.test/app/hello:1'
  let registry: RivalRegistry
  let image: Layout
  beforeAll(async () => {
    registry = await startRivalRegistry(bed)
    const spec = { line: LINE, architectures: ['amd64', 'arm64'] as const, extraLayers: [{ sizeBytes: MIB }] }
    image = await buildImage(await bed.folder('image'), spec)
    await skopeoCopy(image.ociReference, `docker://${registry.host}/app/hello:1`)
    await skopeoCopy(image.ociReference, `docker://${registry.host}/library/hello:1`)
  })

  test('skopeo pushes an index as it is', async () => {
    const raw = await skopeoInspectRaw(`docker://${registry.host}/app/hello:1`)
    expect(raw).toBe(await readFile(blobPath(image.folder, image.root.digest), 'utf8'))
    await expect(skopeoInspectRaw(`docker://${registry.host}/app/hello:1`, { verifyTls: true })).rejects.toThrow(
      /http/i,
    )
  })

  test('containerd pulls through a mirror of hosts.toml, by ctr and by CRI, and runs', async () => {
    const hosts = [{ registry: 'registry.test', mirrors: [registry.url], server: registry.url }]
    const [one, other] = await Promise.all([
      startContainerd(bed, { name: 'one', hosts }),
      startContainerd(bed, { name: 'other', hosts }),
    ])
    await one.pull(NAME)
    expect(await one.contentDigests()).toContain(image.root.digest)
    expect(await one.run(NAME)).toBe(`${LINE}\n`)
    expect(await other.contentDigests()).toEqual(new Set())

    expect(await other.criPull(NAME)).toMatch(/^sha256:/)
    expect(await other.contentDigests(CRI_NAMESPACE)).toContain(image.root.digest)
    expect(await other.run(NAME, CRI_NAMESPACE)).toBe(`${LINE}\n`)
    await expect(other.criPull('registry.test/app/none:1')).rejects.toThrow(/not found/)

    await one.remove(NAME)
    expect(await one.contentDigests()).toEqual(new Set())
  })

  test('a pull secret reaches a private registry from each client', async () => {
    const closed = await startRivalRegistry(bed, { withLogin: true })
    const name = `${closed.host}/private:1`
    await skopeoCopy(image.ociReference, `docker://${name}`, { credentials: RIVAL_LOGIN })
    const { username, password } = RIVAL_LOGIN
    const containerd = await startContainerd(bed, { name: 'secret' })
    await expect(containerd.criPull(name)).rejects.toThrow(/401|authorization/)
    await containerd.criPull(name, RIVAL_LOGIN)
    const podman = await setUpPodman(bed, { registries: [{ registry: closed.host, mirrors: [] }] })
    await expect(podman.pull(name)).rejects.toThrow(/unauthorized|authentication/)
    await podman.login(closed.host, username, password)
    await podman.pull(name)
  })

  test('docker pulls through a registry mirror, runs, loads, tags and pushes', async () => {
    const docker = await startDocker(bed, { mirrors: [registry.url] })
    await docker.pull('hello:1')
    expect(await docker.run('hello:1')).toBe(`${LINE}\n`)
    await docker.tag('hello:1', `${registry.host}/from/docker:1`)
    await docker.push(`${registry.host}/from/docker:1`)
    expect((await pullImage(registry.url, 'from/docker', '1')).blobs.size).toBe(3)

    const archive = `${await bed.folder('archive')}/image.tar`
    const other = await buildImage(await bed.folder('loaded'), { line: 'loaded', extraLayers: [{ sizeBytes: 9 }] })
    await skopeoCopy(other.ociReference, `docker-archive:${archive}:loaded:1`, { isExact: false })
    await docker.load(archive)
    expect(await docker.run('loaded:1')).toBe('loaded\n')
  })

  test.each(['overlay', 'vfs'] as const)(
    'podman on %s pulls through a mirror, runs and pushes',
    async (storageDriver) => {
      const registries = [{ registry: 'registry.test', mirrors: [registry.host], location: '127.0.0.1:1' }]
      const podman = await setUpPodman(bed, { storageDriver, registries })
      await podman.pull(NAME)
      expect(await podman.run(NAME)).toBe(`${LINE}\n`)
      await podman.tag(NAME, `${registry.host}/from/podman:${storageDriver}`)
      await podman.push(`${registry.host}/from/podman:${storageDriver}`)
      expect((await pullImage(registry.url, 'from/podman', storageDriver)).blobs.size).toBe(3)
    },
  )

  test('each of them pulls and runs a Docker schema 2 manifest list', async () => {
    const spec = { line: LINE, format: 'docker' as const, architectures: ['amd64', 'arm64'] as const }
    const list = await buildImage(await bed.folder('schema2'), spec)
    await pushLayout(registry.url, 'library/schema2', '1', list)
    const name = `${registry.host}/library/schema2:1`
    const containerd = await startContainerd(bed)
    await containerd.pull(name, ['--plain-http'])
    const docker = await startDocker(bed)
    await docker.pull(name)
    const podman = await setUpPodman(bed, { registries: [{ registry: registry.host, mirrors: [] }] })
    await podman.pull(name)
    for (const runtime of [containerd, docker, podman]) expect(await runtime.run(name)).toBe(`${LINE}\n`)
  })
})
