import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '@shoal/bench'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { afterEach, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { http, httpExpect } from './kit/http.ts'
import { buildArtifact } from './kit/images.ts'
import { describeWith } from './kit/missing.ts'
import { nodeMetric, originBytes, receivedBytes, registryName } from './kit/network.ts'
import { type Launched, launch } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { pullImage } from './kit/pull-image.ts'
import { pushLayout } from './kit/push-layout.ts'
import { randomContent } from './kit/random-content.ts'
import { RIVAL_LOGIN, startRivalRegistry } from './kit/rival-registry.ts'
import { type Shoal, type ShoalNode, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024

interface NodeView {
  readonly addresses: { readonly libp2p: string }
  readonly libp2pConnections: number
}

async function viewOf({ adminUrl }: { readonly adminUrl: string }): Promise<NodeView> {
  return JSON.parse((await httpExpect(`${adminUrl}/api/v1/node`, [200])).body.toString())
}

describeWith(['docker-registry'], 'nodes without a scheduler', () => {
  const bed = createTestBed()
  let shoal: Shoal
  let launched: Launched[] = []

  afterEach(async () => {
    await Promise.all(launched.map((program) => program.stop()))
    launched = []
    await shoal.stop()
  })

  /** Pushes one blob of random bytes; returns it. */
  const push = async (repository: string, sizeBytes: number) => {
    const content = Buffer.concat([...randomContent(repository, sizeBytes)])
    await pushLayout(shoal.registry.url, repository, '1', await buildArtifact(await bed.folder('artifact'), [content]))
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`
    return { content, digest }
  }

  /** Starts more peers, which know each other and `others` by their libp2p addresses alone, and waits until all met. */
  const startFresh = async (
    count: number,
    others: readonly ShoalNode[],
    origins: Record<string, { url: string }> = {},
  ) => {
    const options = parse(await readFile(shoal.peers[0]?.config ?? '', 'utf8'))
    const known = (await Promise.all(others.map(viewOf))).map(({ addresses }) => addresses.libp2p)
    const folder = await bed.folder('fresh')
    const names = Array.from({ length: count }, (_, index) => `fresh-${index}`)
    const doors = new Map<string, { mirror: number; lane: number; libp2p: number; admin: number }>()
    for (const name of names) {
      const [mirror, lane, libp2p, admin] = [await freePort(), await freePort(), await freePort(), await freePort()]
      const { peerId } = await loadOrCreateIdentity(join(folder, name, 'identity.key'))
      doors.set(name, { mirror, lane, libp2p, admin })
      known.push(`/ip4/127.0.0.1/tcp/${libp2p}/p2p/${peerId}`)
    }
    return Promise.all(
      [...doors].map(async ([name, { mirror, lane, libp2p, admin }]) => {
        const config = join(folder, `${name}.yaml`)
        const own = {
          ...options,
          name,
          dataDir: join(folder, name),
          mirror: { ...options.mirror, port: mirror },
          lane: { ...options.lane, port: lane },
          libp2p: { ...options.libp2p, port: libp2p, bootstrap: known },
          admin: { ...options.admin, port: admin },
          origins: { ...options.origins, ...origins },
          // However slow the machine: what nodes do for each other is to be seen, not how long they wait.
          download: { holdersMs: 20_000, rendezvousMs: 20_000 },
        }
        await writeFile(config, stringify(own))
        const program = await launch(name, process.execPath, [SHOAL_PROGRAM, 'peer', '--config', config])
        launched.push(program)
        const peer = { mirrorUrl: `http://127.0.0.1:${mirror}`, adminUrl: `http://127.0.0.1:${admin}` }
        const hasMet = async () => (await viewOf(peer)).libp2pConnections >= known.length - 1
        await program.waitUntil('libp2p connections', hasMet, 60_000)
        return peer
      }),
    )
  }

  test('a fresh peer takes a blob from the others though the scheduler is gone, and the origin soon after', async () => {
    shoal = await startShoal(bed, { nodes: 2 })
    const namespace = registryName(shoal)
    const { content, digest } = await push('held', 60 * MIB)
    const [, { blobs }] = [
      await pullImage(shoal.peers[0]?.mirrorUrl ?? '', 'held', '1', { namespace }),
      await pullImage(shoal.peers[1]?.mirrorUrl ?? '', 'held', '1', { namespace }),
    ]
    process.kill(shoal.scheduler.pid, 'SIGKILL')
    for (const peer of shoal.peers) {
      const isProvided = async () => (await nodeMetric(peer, 'shoal_swarm_provided_total')) >= blobs.size
      await expect.poll(isProvided, { timeout: 30_000 }).toBe(true)
    }
    const [fresh = { mirrorUrl: '', adminUrl: '' }] = await startFresh(1, shoal.peers)
    const url = `${fresh.mirrorUrl}/v2/held/blobs/${digest}?ns=${namespace}`
    const limits = { uploadBytesPerSecond: 0, downloadBytesPerSecond: 4 * MIB, originBytesPerSecond: 0 }
    await httpExpect(`${fresh.adminUrl}/api/v1/limits`, [200], {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(limits),
    })
    // While it lives, the origin is asked whether the client may read the blob, and has to show that it holds it.
    const answer = await http(url)
    expect(answer.status).toBe(200)
    process.kill(shoal.registry.pid, 'SIGKILL')
    await expect
      .poll(() =>
        http(shoal.registry.url).then(
          () => 'there',
          () => 'gone',
        ),
      )
      .toBe('gone')

    // Some of it had yet to come then.
    expect((await receivedBytes(fresh)).peer).toBeLessThan(content.byteLength)
    const hash = createHash('sha256')
    for await (const chunk of answer.body) hash.update(chunk)
    expect(`sha256:${hash.digest('hex')}`).toBe(digest)
    expect(await receivedBytes(fresh)).toEqual({ peer: content.byteLength, seed: 0, origin: 0 })
  })

  test('peers that pull a cold blob at once cost the origin no copy each', async () => {
    shoal = await startShoal(bed, { nodes: 1 })
    const namespace = registryName(shoal)
    process.kill(shoal.scheduler.pid, 'SIGKILL')
    const peers = await startFresh(8, [])
    await push('cold', 60 * MIB)
    const before = await originBytes(shoal)
    const pulls = await Promise.all(peers.map((peer) => pullImage(peer.mirrorUrl, 'cold', '1', { namespace })))
    const blobBytes = pulls[0]?.blobBytes ?? 0
    for (const pull of pulls) expect(pull.blobBytes).toBe(blobBytes)
    const copies = ((await originBytes(shoal)) - before) / blobBytes
    expect(copies).toBeGreaterThanOrEqual(1)
    // One, unless the node that fetches was so slow to answer that the next one was asked too. The config is a blob of two
    // bytes, which more of them may have fetched.
    expect(copies).toBeLessThanOrEqual(2.001)
    const fromPeers = (await Promise.all(peers.map(receivedBytes))).reduce((sum, { peer }) => sum + peer, 0)
    expect(fromPeers).toBeGreaterThanOrEqual(6 * blobBytes)
  })

  test('behind a private registry a peer that may read a cold blob fetches it for all', async () => {
    shoal = await startShoal(bed, { nodes: 1 })
    process.kill(shoal.scheduler.pid, 'SIGKILL')
    const closed = await startRivalRegistry(bed, { withLogin: true })
    const authorization = `Basic ${Buffer.from(`${RIVAL_LOGIN.username}:${RIVAL_LOGIN.password}`).toString('base64')}`
    const content = Buffer.concat([...randomContent('private', 40 * MIB)])
    const layout = await buildArtifact(await bed.folder('private'), [content])
    await pushLayout(closed.url, 'private', '1', layout, { authorization })
    const peers = await startFresh(5, [], { [closed.host]: { url: closed.url } })
    // Nobody pulls through the last two: should they be nearest, they can not fetch it themselves.
    const pulls = await Promise.all(
      peers
        .slice(0, 3)
        .map(({ mirrorUrl }) => pullImage(mirrorUrl, 'private', '1', { namespace: closed.host, authorization })),
    )
    const blobBytes = pulls[0]?.blobBytes ?? 0
    const fromOrigin = (await Promise.all(peers.map(receivedBytes))).reduce((sum, { origin }) => sum + origin, 0)
    expect(fromOrigin).toBeGreaterThanOrEqual(blobBytes)
    expect(fromOrigin).toBeLessThanOrEqual(2 * blobBytes)
  })
})
