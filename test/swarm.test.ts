import { rm } from 'node:fs/promises'
import { beforeAll, expect, test } from 'vitest'
import { httpExpect } from './kit/http.ts'
import { buildImage } from './kit/images.ts'
import { describeWith } from './kit/missing.ts'
import { hostsThrough, MOST_PROOF_BYTES, originBytes, receivedBytes, registryName } from './kit/network.ts'
import { pullImage } from './kit/pull-image.ts'
import { CRI_NAMESPACE, startContainerd } from './kit/runtimes/containerd.ts'
import { skopeoCopy } from './kit/runtimes/skopeo.ts'
import { type Shoal, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024

describeWith(['busybox', 'skopeo', 'containerd'], 'a swarm', () => {
  const bed = createTestBed()
  let dataFolder: string
  let shoal: Shoal
  let registry: string
  let imageBytes: number

  beforeAll(async () => {
    dataFolder = await bed.folder('data')
    shoal = await startShoal(bed, { nodes: 3, dataFolder })
    registry = registryName(shoal)
    const extraLayers = [{ sizeBytes: 300 * MIB, encoding: 'tar' as const }]
    const image = await buildImage(await bed.folder('image'), { line: 'large', extraLayers })
    await skopeoCopy(image.ociReference, `docker://${registry}/large:1`)
    imageBytes = (await pullImage(shoal.registry.url, 'large', '1')).blobBytes
  })

  test('three cold containerds take one copy from the origin and most from each other', async () => {
    const containerds = await Promise.all(
      shoal.peers.map((peer) => startContainerd(bed, { name: peer.name, hosts: hostsThrough(shoal, peer) })),
    )
    const before = await originBytes(shoal)
    await Promise.all(containerds.map((containerd) => containerd.criPull(`${registry}/large:1`)))
    const fromOrigin = (await originBytes(shoal)) - before
    expect(fromOrigin).toBeGreaterThanOrEqual(imageBytes)
    expect(fromOrigin).toBeLessThanOrEqual(imageBytes * 1.01)

    const received = await Promise.all(shoal.peers.map(receivedBytes))
    const all = received.reduce((sum, { peer, seed, origin }) => sum + peer + seed + origin, 0)
    const fromEachOther = received.reduce((sum, { peer }) => sum + peer, 0)
    expect(all).toBe(3 * imageBytes)
    expect(fromEachOther / all).toBeGreaterThan(0.5)

    const [first, ...others] = await Promise.all(containerds.map((c) => c.contentDigests(CRI_NAMESPACE)))
    for (const other of others) expect(other).toEqual(first)
    for (const containerd of containerds)
      expect(await containerd.run(`${registry}/large:1`, CRI_NAMESPACE)).toBe('large\n')
  })

  test('the scheduler shows its nodes and swarms', async () => {
    const api = async (path: string) =>
      JSON.parse((await httpExpect(`${shoal.scheduler.adminUrl}/api/v1/${path}`, [200])).body.toString())
    const { nodes } = await api('nodes')
    expect(nodes.map(({ name }: { name: string }) => name).sort()).toEqual(['peer-0', 'peer-1', 'peer-2', 'seed-0'])
    const { swarms } = await api('swarms')
    const large = swarms.find(({ size }: { size: number }) => size > 300 * MIB)
    expect(large.complete).toBe(4)
  })

  test('a second start finds all of it again, without the origin', async () => {
    await shoal.stop()
    shoal = await startShoal(bed, { nodes: 3, dataFolder })
    const pulls = shoal.peers.map(({ mirrorUrl }) => pullImage(mirrorUrl, 'large', '1', { namespace: registry }))
    for (const { blobBytes } of await Promise.all(pulls)) expect(blobBytes).toBe(imageBytes)
    expect(await originBytes(shoal)).toBe(0)
  })

  test('a node that lost its data gets it from its neighbours, without the origin', async () => {
    await shoal.stop()
    await rm(`${dataFolder}/peer-2`, { recursive: true })
    shoal = await startShoal(bed, { nodes: 3, dataFolder })
    const [, , empty] = shoal.peers
    expect(await pullImage(empty?.mirrorUrl ?? '', 'large', '1', { namespace: registry })).toMatchObject({
      blobBytes: imageBytes,
    })
    expect(await originBytes(shoal)).toBeLessThanOrEqual(MOST_PROOF_BYTES)
  })
})
