import { beforeAll, expect, test } from 'vitest'
import { http, httpExpect } from './kit/http.ts'
import { buildArtifact, buildImage, HOST_ARCHITECTURE } from './kit/images.ts'
import type { Layout } from './kit/layout.ts'
import { describeWith } from './kit/missing.ts'
import { hostsThrough, registryName } from './kit/network.ts'
import { run } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { pullImage } from './kit/pull-image.ts'
import { pushLayout } from './kit/push-layout.ts'
import { CRI_NAMESPACE, startContainerd } from './kit/runtimes/containerd.ts'
import { startDocker } from './kit/runtimes/docker.ts'
import { setUpPodman } from './kit/runtimes/podman.ts'
import { skopeoCopy } from './kit/runtimes/skopeo.ts'
import { type Shoal, type ShoalNode, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024
const LINE = 'a shoal of herring'

describeWith(['busybox', 'skopeo', 'containerd', 'docker', 'podman'], 'real runtimes through the network', () => {
  const bed = createTestBed()
  let shoal: Shoal
  let registry: string
  let image: Layout
  const peer = (index: number) => shoal.peers[index] as ShoalNode

  beforeAll(async () => {
    shoal = await startShoal(bed, { nodes: 4 })
    registry = registryName(shoal)
    const architectures = ['amd64', 'arm64'] as const
    image = await buildImage(await bed.folder('image'), {
      line: LINE,
      architectures,
      extraLayers: [{ sizeBytes: 5 * MIB }],
    })
    await skopeoCopy(image.ociReference, `docker://${registry}/app/hello:1`)
  })

  test('containerd pulls by ctr through the first peer and runs', async () => {
    const containerd = await startContainerd(bed, { hosts: hostsThrough(shoal, peer(0)) })
    await containerd.pull(`${registry}/app/hello:1`)
    expect(await containerd.contentDigests()).toContain(image.root.digest)
    expect(await containerd.run(`${registry}/app/hello:1`)).toBe(`${LINE}\n`)
  })

  test('containerd pulls by CRI through the second peer and runs', async () => {
    const containerd = await startContainerd(bed, { hosts: hostsThrough(shoal, peer(1)) })
    await containerd.criPull(`${registry}/app/hello:1`)
    expect(await containerd.run(`${registry}/app/hello:1`, CRI_NAMESPACE)).toBe(`${LINE}\n`)
  })

  test('docker pulls through the third peer, by its address and as a registry mirror, runs and pushes', async () => {
    const mirror = new URL(peer(2).mirrorUrl)
    await skopeoCopy(image.ociReference, `docker://${registry}/library/hello:1`)
    const docker = await startDocker(bed, { mirrors: [mirror.origin], insecureRegistries: [mirror.host, registry] })
    await docker.pull(`${mirror.host}/app/hello:1`)
    expect(await docker.run(`${mirror.host}/app/hello:1`)).toBe(`${LINE}\n`)
    await docker.pull('hello:1')
    await docker.tag('hello:1', `${registry}/from/docker:1`)
    await docker.push(`${registry}/from/docker:1`)
    await startContainerd(bed, { hosts: hostsThrough(shoal, peer(0)) }).then((c) => c.pull(`${registry}/from/docker:1`))
  })

  test.each(['overlay', 'vfs'] as const)(
    'podman on %s pulls through the fourth peer, runs and pushes',
    async (storageDriver) => {
      const mirrors = [new URL(peer(3).mirrorUrl).host]
      // The registry itself is out of reach, so the mirror is all there is.
      const podman = await setUpPodman(bed, {
        storageDriver,
        registries: [{ registry: 'registry.test', mirrors, location: '127.0.0.1:1' }],
      })
      await podman.pull('registry.test/app/hello:1')
      expect(await podman.run('registry.test/app/hello:1')).toBe(`${LINE}\n`)
      await podman.tag('registry.test/app/hello:1', `${registry}/from/podman:${storageDriver}`)
      await podman.push(`${registry}/from/podman:${storageDriver}`)
      expect((await pullImage(peer(1).mirrorUrl, 'from/podman', storageDriver)).blobs.size).toBe(3)
    },
  )

  test.each(['oci', 'docker'] as const)('an index, and an image alone, with media types of %s', async (format) => {
    for (const architectures of [['amd64', 'arm64'], [HOST_ARCHITECTURE]] as const) {
      const name = `types/${format}-${architectures.length}`
      const built = await buildImage(await bed.folder('types'), { line: name, format, architectures })
      await pushLayout(shoal.registry.url, name, '1', built)
      const all = await pullImage(peer(2).mirrorUrl, name, '1', { namespace: registry })
      expect(all.digest).toBe(built.root.digest)
      const containerd = await startContainerd(bed, { hosts: hostsThrough(shoal, peer(1)) })
      await containerd.pull(`${registry}/${name}:1`)
      expect(await containerd.run(`${registry}/${name}:1`)).toBe(`${name}\n`)
    }
  })

  test('layers of no byte and of one byte, through every peer at once', async () => {
    const artifact = await buildArtifact(await bed.folder('tiny'), [Buffer.alloc(0), Buffer.from('x')])
    await pushLayout(shoal.registry.url, 'tiny', '1', artifact)
    const pulls = shoal.peers.map(({ mirrorUrl }) => pullImage(mirrorUrl, 'tiny', '1', { namespace: registry }))
    for (const pulled of await Promise.all(pulls)) expect([...pulled.blobs.values()].sort()).toEqual([0, 1, 2])
  })

  test('ranges of a blob, before and after it is whole', async () => {
    const content = Buffer.alloc(3 * MIB, 'range ')
    const artifact = await buildArtifact(await bed.folder('range'), [content])
    await pushLayout(shoal.registry.url, 'range', '1', artifact)
    const { blobs } = await pullImage(shoal.registry.url, 'range', '1')
    const [digest] = [...blobs].find(([, size]) => size === content.length) ?? []
    const url = `${peer(0).mirrorUrl}/v2/range/blobs/${digest}?ns=${registry}`
    for (const _when of ['before', 'after']) {
      for (const [range, start, end] of [
        ['bytes=-10', content.length - 10, content.length - 1],
        ['bytes=1000000-1000009', 1_000_000, 1_000_009],
        ['bytes=3145720-99999999', 3_145_720, content.length - 1],
      ] as const) {
        const part = await httpExpect(url, [206], { headers: { range } })
        expect(part.headers['content-range']).toBe(`bytes ${start}-${end}/${content.length}`)
        expect(part.body.equals(content.subarray(start, end + 1))).toBe(true)
      }
      for (const range of [`bytes=${content.length}-`, 'bytes=5-1', 'bytes=x']) {
        const refused = await httpExpect(url, [416], { headers: { range } })
        expect(refused.headers['content-range']).toBe(`bytes */${content.length}`)
        expect(JSON.parse(refused.body.toString()).errors[0].message).toContain(range)
      }
      const head = await http(url, { method: 'HEAD' })
      head.body.resume()
      expect([head.status, head.headers['content-length']]).toEqual([200, String(content.length)])
    }
  })

  test('shoal pull says where the pieces came from', async () => {
    const built = await buildImage(await bed.folder('told'), {
      line: 'told',
      extraLayers: [{ sizeBytes: 9 * MIB, seed: 'told' }],
    })
    await skopeoCopy(built.ociReference, `docker://${registry}/told:1`)
    const pull = (node: ShoalNode) =>
      run(process.execPath, [SHOAL_PROGRAM, 'pull', `${registry}/told:1`, '--node', node.adminUrl])
    const first = await pull(peer(0))
    expect(first.stdout).toMatch(/9\.0 MiB {2}neighbours 0% {2}seed 100% {2}origin 0%/)
    expect(first.stdout).toContain(built.root.digest)
    expect((await pull(peer(0))).stdout).toContain('all of it was here already')
    expect((await pull(peer(1))).stdout).toMatch(/9\.0 MiB {2}neighbours \d+% {2}seed \d+% {2}origin 0%/)
    await expect(
      run(process.execPath, [SHOAL_PROGRAM, 'pull', `${registry}/none:1`, '--node', peer(0).adminUrl]),
    ).rejects.toThrow(/code 1(.|\n)*does not have it/)
  })
})
