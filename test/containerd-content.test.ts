import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { http, httpExpect } from './kit/http.ts'
import { buildImage } from './kit/images.ts'
import { describeWith } from './kit/missing.ts'
import { hostsThrough, MOST_PROOF_BYTES, nodeMetric, originBytes, receivedBytes, registryName } from './kit/network.ts'
import { type Launched, launch } from './kit/process.ts'
import { type PulledImage, pullImage } from './kit/pull-image.ts'
import { type Containerd, CRI_NAMESPACE, startContainerd } from './kit/runtimes/containerd.ts'
import { skopeoCopy } from './kit/runtimes/skopeo.ts'
import { type Shoal, type ShoalNode, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024
const MAIN = join(import.meta.dirname, '../packages/cli/src/main.ts')
const FIRST_PORT = 7440

describeWith(['busybox', 'skopeo', 'containerd'], "a node that serves containerd's own content", () => {
  const bed = createTestBed()
  let shoal: Shoal
  let registry: string
  let image: PulledImage
  /** The containerd whose content the node serves, and that pulls past the node. */
  let holder: Containerd
  let node: ShoalNode
  let program: Launched

  const plainPeer = () => shoal.peers[0] as ShoalNode
  const served = (state = 'served') => nodeMetric(node, 'shoal_runtime_content_blobs', { state })
  const describeNode = async () => JSON.parse((await httpExpect(`${node.adminUrl}/api/v1/node`, [200])).body.toString())
  const startNode = async (config: string) => {
    program = await launch('peer-content', process.execPath, [MAIN, 'peer', '--config', config])
    bed.use(program)
    await program.waitUntil('readiness', () => httpExpect(`${node.adminUrl}/readyz`, [200]).then(() => true))
  }

  beforeAll(async () => {
    shoal = await startShoal(bed, { nodes: 1 })
    registry = registryName(shoal)
    const built = await buildImage(await bed.folder('image'), { line: 'held', extraLayers: [{ sizeBytes: 40 * MIB }] })
    await skopeoCopy(built.ociReference, `docker://${registry}/held:1`)
    image = await pullImage(shoal.registry.url, 'held', '1')
    holder = await startContainerd(bed, { hosts: [{ registry, mirrors: [], server: shoal.registry.url }] })

    const folder = await bed.folder('node')
    const like = parse(await readFile(plainPeer().config, 'utf8'))
    const port = (offset: number) => ({ port: FIRST_PORT + offset })
    const options = {
      ...like,
      name: 'peer-content',
      dataDir: join(folder, 'data'),
      mirror: { ...like.mirror, ...port(0) },
      lane: { ...like.lane, ...port(1) },
      libp2p: { ...like.libp2p, ...port(2) },
      admin: { ...like.admin, ...port(3) },
      store: { containerdContent: holder.contentFolder },
    }
    const config = join(folder, 'peer.yaml')
    await writeFile(config, stringify(options))
    node = {
      name: options.name,
      pid: 0,
      config,
      mirrorUrl: `http://127.0.0.1:${FIRST_PORT}`,
      lane: '',
      libp2p: '',
      adminUrl: `http://127.0.0.1:${FIRST_PORT + 3}`,
    }
    await startNode(config)
  })

  test('sees what containerd pulls from the registry by itself', async () => {
    await holder.criPull(`${registry}/held:1`)
    const digests = await holder.contentDigests(CRI_NAMESPACE)
    await program.waitUntil('all content to be verified', async () => (await served()) === digests.size)
    expect(await served('waiting')).toBe(0)
    const { store, containerdContent } = await describeNode()
    expect(store).toMatchObject({ completeBlobs: 0, partialBlobs: 0 })
    expect(containerdContent).toMatchObject({ folder: holder.contentFolder, blobs: digests.size, wrongBlobs: 0 })
    expect(containerdContent.bytes).toBeGreaterThanOrEqual(image.blobBytes)
  })

  test('gives its neighbours the layers, and the origin none', async () => {
    const before = await originBytes(shoal)
    const other = await startContainerd(bed, { name: 'other', hosts: hostsThrough(shoal, plainPeer()) })
    await other.criPull(`${registry}/held:1`)
    expect(await other.run(`${registry}/held:1`, CRI_NAMESPACE)).toBe('held\n')
    expect((await originBytes(shoal)) - before).toBeLessThanOrEqual(MOST_PROOF_BYTES)
    expect(await receivedBytes(plainPeer())).toEqual({ peer: image.blobBytes, seed: 0, origin: 0 })
    expect((await describeNode()).store).toMatchObject({ completeBlobs: 0, partialBlobs: 0 })
  })

  test('serves its own mirror from it, but only to who may read', async () => {
    const before = await originBytes(shoal)
    expect((await pullImage(node.mirrorUrl, 'held', '1', { namespace: registry })).blobBytes).toBe(image.blobBytes)
    expect((await originBytes(shoal)) - before).toBeLessThanOrEqual(MOST_PROOF_BYTES)
    expect((await describeNode()).store).toMatchObject({ completeBlobs: 0, partialBlobs: 0 })
    const [digest] = image.blobs.keys()
    const refused = await http(`${node.mirrorUrl}/v2/none/blobs/${digest}?ns=${registry}`)
    refused.body.resume()
    expect(refused.status).toBe(404)
  })

  test('reads nothing again after a restart', async () => {
    const before = await served()
    await program.stop()
    await startNode(node.config)
    await program.waitUntil('all content to be known', async () => (await served()) === before)
    expect(await nodeMetric(node, 'shoal_runtime_content_verified_bytes_total')).toBe(0)
  })

  test('gives up what containerd removes, and fetches it from neighbours when it is asked for', async () => {
    // By its tag, its digest, and the id of its config.
    const names = (await holder.ctr(['images', 'ls', '--quiet'], CRI_NAMESPACE)).split('\n')
    for (const name of names.filter((line) => line !== '')) await holder.remove(name, CRI_NAMESPACE)
    await program.waitUntil('the garbage collection to be seen', async () => (await served()) === 0)
    expect(await readdir(join(holder.contentFolder, 'blobs/sha256'))).toEqual([])
    const before = await originBytes(shoal)
    await pullImage(node.mirrorUrl, 'held', '1', { namespace: registry })
    expect((await originBytes(shoal)) - before).toBeLessThanOrEqual(MOST_PROOF_BYTES)
    expect((await receivedBytes(node)).peer).toBe(image.blobBytes)
  })
})
