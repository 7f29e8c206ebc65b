import { copyFile, open, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PieceLayout } from '@shoal/core'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { httpExpect } from './kit/http.ts'
import { buildArtifact } from './kit/images.ts'
import { scrape, sumSeries } from './kit/metrics.ts'
import { describeWith } from './kit/missing.ts'
import { MOST_PROOF_BYTES, nodeMetric, originBytes, receivedBytes, registryName } from './kit/network.ts'
import { type Launched, launch } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { pullImage } from './kit/pull-image.ts'
import { pushLayout } from './kit/push-layout.ts'
import { randomContent } from './kit/random-content.ts'
import { RIVAL_LOGIN, startRivalRegistry } from './kit/rival-registry.ts'
import { type Shoal, type ShoalNode, startShoal } from './kit/shoal.ts'
import { createTestBed, type TestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024

interface DownloadView {
  readonly size: number
  readonly held: number
  readonly state: string
}

async function downloads(node: ShoalNode): Promise<DownloadView[]> {
  const { body } = await httpExpect(`${node.adminUrl}/api/v1/downloads`, [200])
  return JSON.parse(body.toString()).downloads
}

/** Pushes one large blob; returns its bytes. */
async function pushLarge(bed: TestBed, shoal: Shoal, repository: string, sizeBytes: number): Promise<number> {
  const content = Buffer.concat([...randomContent(repository, sizeBytes)])
  await pushLayout(shoal.registry.url, repository, '1', await buildArtifact(await bed.folder('artifact'), [content]))
  return sizeBytes
}

/** Starts a pull that may fail, and resolves when `node` holds some pieces of a blob of `size` bytes but not all. */
async function untilHalfWay(node: ShoalNode, size: number): Promise<number> {
  const { count } = new PieceLayout(size)
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; ) {
    const large = (await downloads(node)).find((download) => download.size === size)
    if (large !== undefined && large.held > count / 20) {
      if (large.held >= count) throw new Error('the download was over before it was seen half way')
      return large.held
    }
  }
  throw new Error('the download did not get half way')
}

describeWith(['busybox', 'docker-registry'], 'a network in trouble', () => {
  const bed = createTestBed()
  let shoal: Shoal
  let registry: string
  let restarted: Launched[] = []
  const peer = (index: number) => shoal.peers[index] as ShoalNode
  const pull = (node: ShoalNode, repository: string) =>
    pullImage(node.mirrorUrl, repository, '1', { namespace: registry })
  const startAgain = async (name: string, service: string, config: string, adminUrl: string) => {
    const program = await launch(name, process.execPath, [SHOAL_PROGRAM, service, '--config', config])
    restarted.push(program)
    const isReady = () =>
      httpExpect(`${adminUrl}/readyz`, [200]).then(
        () => true,
        () => false,
      )
    await program.waitUntil('readiness', isReady)
    return program
  }

  afterEach(async () => {
    await Promise.all(restarted.map((program) => program.stop()))
    restarted = []
    await shoal.stop()
  })

  beforeEach(async () => {
    shoal = await startShoal(bed, { nodes: 3 })
    registry = registryName(shoal)
  })

  test('a peer killed in mid-pull goes on with what it had verified', async () => {
    const size = await pushLarge(bed, shoal, 'killed', 400 * MIB)
    const layout = new PieceLayout(size)
    const victim = peer(0)
    const broken = pull(victim, 'killed')
    broken.catch(() => {})
    const heldBefore = await untilHalfWay(victim, size)
    process.kill(victim.pid, 'SIGKILL')
    await expect(broken).rejects.toThrow()
    // What came while it was being killed is held too: its log says how much it took up again.
    const program = await startAgain('peer-0', 'peer', victim.config, victim.adminUrl)
    const [, held = '0'] = /"held":(\d+).*partial blob taken up again/.exec(program.output.text()) ?? []
    expect(Number(held)).toBeGreaterThanOrEqual(heldBefore)
    const { blobBytes } = await pull(victim, 'killed')
    const received = await receivedBytes(victim)
    const missing = layout.count - Number(held)
    expect(received.peer + received.seed + received.origin).toBeLessThanOrEqual(
      missing * layout.pieceSize + (blobBytes - size),
    )
    expect(await originBytes(shoal)).toBeLessThanOrEqual(blobBytes * 1.01)
  })

  test('a neighbour that sends wrong bytes is found out at the piece, reported, and does no harm', async () => {
    const size = await pushLarge(bed, shoal, 'flipped', 64 * MIB)
    const liar = peer(0)
    const { blobs } = await pull(liar, 'flipped')
    const digest = [...blobs].find(([, bytes]) => bytes === size)?.[0] ?? ''
    const hex = digest.slice('sha256:'.length)
    const { dataDir } = parse(await readFile(liar.config, 'utf8'))
    const layout = new PieceLayout(size)
    const file = await open(join(dataDir, 'blobs/sha256', hex.slice(0, 2), hex), 'r+')
    const byte = Buffer.alloc(1)
    for (let piece = 0; piece < layout.count; piece++) {
      const offset = layout.offset(piece) + 12_345
      await file.read(byte, 0, 1, offset)
      byte[0] = (byte[0] ?? 0) ^ 0x10
      await file.write(byte, 0, 1, offset)
    }
    await file.close()
    const honest = peer(1)
    await pull(honest, 'flipped')
    expect(await nodeMetric(honest, 'shoal_node_piece_rejected_total', { reason: 'corrupt' })).toBeGreaterThan(0)
    const scheduler = await scrape(`${shoal.scheduler.adminUrl}/metrics`)
    expect(sumSeries(scheduler, 'shoal_scheduler_piece_failures_total', { reason: 'corrupt' })).toBeGreaterThan(0)
    expect(await originBytes(shoal)).toBeLessThanOrEqual((await pull(honest, 'flipped')).blobBytes * 1.01)
  })

  test('the scheduler stops in mid-pull: that pull and new ones go on, and it is found again', async () => {
    const size = await pushLarge(bed, shoal, 'running', 400 * MIB)
    const running = pull(peer(0), 'running')
    await untilHalfWay(peer(0), size)
    process.kill(shoal.scheduler.pid, 'SIGTERM')
    expect((await running).blobBytes).toBeGreaterThan(size)
    await pushLarge(bed, shoal, 'new', 20 * MIB)
    expect((await pull(peer(1), 'new')).blobBytes).toBeGreaterThan(20 * MIB)
    expect(await nodeMetric(peer(1), 'shoal_node_ladder_steps_total', { rung: 'holders' })).toBeGreaterThan(0)

    const { scheduler } = shoal
    const program = await startAgain('scheduler', 'scheduler', scheduler.config, scheduler.adminUrl)
    const knowsAll = async () => {
      const { body } = await httpExpect(`${scheduler.adminUrl}/api/v1/nodes`, [200])
      return JSON.parse(body.toString()).nodes.length === 4
    }
    await program.waitUntil('knowledge of all nodes', knowsAll)
    const before = await originBytes(shoal)
    await pull(peer(2), 'new')
    expect((await originBytes(shoal)) - before).toBeLessThanOrEqual(MOST_PROOF_BYTES)
  })

  test('a scheduler that hangs does not hang a pull', async () => {
    await pushLarge(bed, shoal, 'hung', 20 * MIB)
    process.kill(shoal.scheduler.pid, 'SIGSTOP')
    try {
      expect((await pull(peer(0), 'hung')).blobBytes).toBeGreaterThan(20 * MIB)
    } finally {
      process.kill(shoal.scheduler.pid, 'SIGCONT')
    }
  })

  test('without its seed, the nodes fetch for each other, still one copy', async () => {
    const [seed] = shoal.seeds
    process.kill(seed?.pid ?? 0, 'SIGKILL')
    await pushLarge(bed, shoal, 'seedless', 60 * MIB)
    const pulls = await Promise.all(shoal.peers.map((node) => pull(node, 'seedless')))
    expect(await originBytes(shoal)).toBeLessThanOrEqual((pulls[0]?.blobBytes ?? 0) * 1.01)
  })

  test('a private registry: credentials are relayed and forwarded, and what is cached stays private', async () => {
    // The registry of the network takes no credentials, so a closed one of Debian's is put in its place.
    const closed = await startRivalRegistry(bed, { withLogin: true })
    const authorization = `Basic ${Buffer.from(`${RIVAL_LOGIN.username}:${RIVAL_LOGIN.password}`).toString('base64')}`
    const content = Buffer.concat([...randomContent('private', 5 * MIB)])
    const layout = await buildArtifact(await bed.folder('private'), [content])
    await pushLayout(closed.url, 'private', '1', layout, { authorization })
    for (const node of [peer(0), peer(1)]) {
      process.kill(node.pid, 'SIGTERM')
      const options = parse(await readFile(node.config, 'utf8'))
      options.origins[closed.host] = { url: closed.url }
      const config = `${node.config}.private.yaml`
      await writeFile(config, stringify(options))
      await expect
        .poll(
          () =>
            readdir(`/proc/${node.pid}`).then(
              () => 'there',
              () => 'gone',
            ),
          { timeout: 15_000 },
        )
        .toBe('gone')
      await startAgain(node.name, 'peer', config, node.adminUrl)
    }
    const [first, second] = [peer(0), peer(1)]
    const from = (node: ShoalNode, as?: string) =>
      pullImage(node.mirrorUrl, 'private', '1', {
        namespace: closed.host,
        ...(as === undefined ? {} : { authorization: as }),
      })
    const refused = await httpExpect(`${first.mirrorUrl}/v2/private/manifests/1?ns=${closed.host}`, [401])
    expect(refused.headers['www-authenticate']).toMatch(/^Basic realm=/i)
    expect(JSON.parse(refused.body.toString()).errors[0].code).toBe('UNAUTHORIZED')
    const { blobs } = await from(first, authorization)
    expect((await from(second, authorization)).blobs.size).toBe(blobs.size)
    expect((await receivedBytes(second)).peer).toBeGreaterThan(5 * MIB)
    for (const digest of blobs.keys()) {
      await httpExpect(`${first.mirrorUrl}/v2/private/blobs/${digest}?ns=${closed.host}`, [401])
      // Another repository of another registry does not open it either.
      await httpExpect(`${first.mirrorUrl}/v2/other/blobs/${digest}?ns=${registry}`, [404])
    }
    await expect(from(first, 'Basic d3Jvbmc6d3Jvbmc=')).rejects.toThrow('401')
  })

  test('copies of a config folder can not be used twice at a time', async () => {
    const copy = `${peer(0).config}.copy.yaml`
    await copyFile(peer(0).config, copy)
    const program = await launch('second', process.execPath, [SHOAL_PROGRAM, 'peer', '--config', copy])
    expect(await program.exited).toEqual({ code: 1, signal: null })
    expect(program.output.text()).toMatch(/shoal: .*(port is in use|another process uses)/)
  })
})
