import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import type { Stream } from '@libp2p/interface'
import { createLogger } from '@shoal/core'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { createOriginMetrics } from '@shoal/origin/service'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { encodeFrame } from '../../../src/lane/frames.ts'
import type { HeldBlob } from '../../../src/lane/held-blobs.ts'
import { createLaneMetrics } from '../../../src/lane/metrics.ts'
import { NodeLimits } from '../../../src/limits/node-limits.ts'
import { createSwarmMetrics } from '../../../src/swarm/metrics.ts'
import { Swarm } from '../../../src/swarm/swarm.ts'
import { WorkerPool } from '../../../src/workers/pool.ts'
import { TestBlob, temporaryFolder } from '../lane/world.ts'

const MIB = 1024 * 1024
const never = new AbortController().signal
const HELLO = encodeFrame({ type: 'hello', lowestVersion: 1, highestVersion: 1, features: 0 })
const LANE = {
  host: '127.0.0.1',
  port: 0,
  uploadSlots: 16,
  idleCloseMs: 60_000,
  stallTimeoutMs: 5000,
  connectTimeoutMs: 3000,
}
const ORIGINS = {
  origins: {},
  allowUnlisted: false,
  limits: {
    connectTimeoutMs: 1000,
    headersTimeoutMs: 1000,
    progressTimeoutMs: 1000,
    totalTimeoutMs: 1000,
    connections: 1,
  },
}

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let blob: TestBlob

/** A node of lane and libp2p. */
class TestNode {
  readonly held = new Map<string, HeldBlob>()
  readonly log: { msg: string }[] = []
  readonly registry = new Registry()
  readonly limits = new NodeLimits()
  readonly pool: WorkerPool
  readonly swarm: Swarm
  readonly peerId: string
  /** Where its scheduler says that every other node is. */
  addresses: readonly string[] = []

  private constructor(identity: Awaited<ReturnType<typeof loadOrCreateIdentity>>, bootstrap: string[]) {
    this.peerId = identity.peerId
    const destination = new Writable({
      write: (line, _encoding, done) => {
        this.log.push(JSON.parse(String(line)))
        done()
      },
    })
    const log = createLogger('test', 'info', destination)
    this.pool = new WorkerPool(
      { threads: 1, lane: LANE, origins: ORIGINS },
      {
        identity,
        log,
        metrics: createLaneMetrics(this.registry),
        originMetrics: createOriginMetrics(this.registry),
        lookup: (digest) => this.held.get(digest),
        openStream: (peerId, signal) => this.swarm.openPieceStream(peerId, this.addresses, signal),
        limits: this.limits,
      },
    )
    this.swarm = new Swarm(
      { host: '127.0.0.1', port: 0, bootstrap, bootstrapDns: [], mdns: false },
      {
        identity,
        source: { holdings: async () => undefined, fetchForOthers: async () => {} },
        lane: () => ({ host: '', port: 1 }),
        servePieces: (peerId, stream) => this.pool.serve(peerId, stream),
        log,
        metrics: createSwarmMetrics(
          new Registry(),
          () => 0,
          () => 0,
        ),
      },
    )
  }

  static async start(name: string, bootstrap: string[] = []): Promise<TestNode> {
    const node = new TestNode(await loadOrCreateIdentity(join(folder.path, `${name}.key`)), bootstrap)
    await node.pool.start()
    await node.swarm.start()
    return node
  }

  async stop(): Promise<void> {
    await this.swarm.stop()
    await this.pool.stop()
  }

  /** Where it is, with a lane that is closed. */
  get unreached() {
    return { peerId: this.peerId, host: '127.0.0.1', port: 1 }
  }

  async metric(name: string, labels: Record<string, string> = {}): Promise<number | undefined> {
    const values = (await this.registry.getSingleMetric(name)?.get())?.values ?? []
    return values.find((value) => Object.entries(labels).every(([key, text]) => value.labels[key] === text))?.value
  }
}

/** Reads a stream; returns how to know how many bytes came. */
const bytesOf = (stream: Stream) => {
  let count = 0
  stream.addEventListener('message', ({ data }) => {
    count += data.byteLength
  })
  return () => count
}

describe('pieces over libp2p', () => {
  let parent: TestNode
  let child: TestNode

  beforeAll(async () => {
    folder = await temporaryFolder()
    blob = await TestBlob.create(folder.path, 'blob', 40 * MIB + 7)
    parent = await TestNode.start('parent')
    child = await TestNode.start('child', parent.swarm.multiaddrs)
    await vi.waitFor(() => expect(child.swarm.peerCount).toBe(1), { timeout: 10_000 })
    parent.held.set(blob.digest, blob.held)
  })

  afterAll(async () => {
    await Promise.all([parent.stop(), child.stop()])
    await folder.remove()
  })

  const served = () => parent.metric('shoal_lane_connections', { direction: 'sent', transport: 'libp2p' })
  const received = (transport: string) => child.metric('shoal_lane_bytes_total', { direction: 'received', transport })
  const emptyFile = async (name: string) => {
    const file = join(folder.path, name)
    await writeFile(file, '')
    return file
  }

  it('bring a whole blob, and are said and counted as such', async () => {
    const file = await emptyFile('whole')
    const pieces = Array.from({ length: blob.layout.count }, (_, piece) => piece)
    while (pieces.length > 0) {
      const some = pieces.splice(0, 8)
      await Promise.all(some.map((piece) => child.pool.fetchPiece(blob.request(piece, file, parent.unreached), never)))
    }
    expect((await readFile(file)).equals(blob.bytes)).toBe(true)
    const bytes = blob.bytes.length
    expect(await received('libp2p')).toBe(bytes)
    expect(await received('tls')).toBe(0)
    expect(await parent.metric('shoal_lane_bytes_total', { direction: 'sent', transport: 'libp2p' })).toBe(bytes)
    expect(await child.metric('shoal_lane_unreachable_nodes')).toBe(1)
    const said = child.log.filter(({ msg }) => msg.startsWith('the lane of a node is not reached'))
    expect(said).toHaveLength(1)
    expect(said[0]).toMatchObject({ level: 'info', parent: parent.unreached })
  })

  it('come from the parent that was asked, wrong bytes and refusals too', async () => {
    const request = blob.request(0, await emptyFile('wrong'), parent.unreached)
    const corrupt = { ...request, sha256: new Uint8Array(32) }
    await expect(child.pool.fetchPiece(corrupt, never)).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(parent.peerId),
    })
    const unknown = { ...request, digest: `sha256:${'0'.repeat(64)}` }
    await expect(child.pool.fetchPiece(unknown, never)).rejects.toMatchObject({ code: 'notHeld' })
    parent.limits.change({ uploadBytesPerSecond: MIB, downloadBytesPerSecond: 0, originBytesPerSecond: 0 })
    try {
      // Under such a limit one piece is sent at a time.
      const outcomes = await Promise.allSettled(
        [1, 2].map((piece) => child.pool.fetchPiece(blob.request(piece, request.file, parent.unreached), never)),
      )
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
      expect(outcomes[1]).toMatchObject({ reason: { code: 'busy' } })
    } finally {
      parent.limits.change({ uploadBytesPerSecond: 0, downloadBytesPerSecond: 0, originBytesPerSecond: 0 })
    }
  })

  it('come from a node that libp2p knows nothing of, by the addresses that the scheduler gives', async () => {
    const stranger = await TestNode.start('unknown')
    try {
      stranger.held.set(blob.digest, blob.held)
      const request = blob.request(0, await emptyFile('known'), { ...parent.unreached, peerId: stranger.peerId })
      // One that is no address, and one of another node, do no harm.
      child.addresses = ['/nonsense', parent.swarm.multiaddrs[0] ?? '', ...stranger.swarm.multiaddrs]
      await child.pool.fetchPiece(request, never)
    } finally {
      child.addresses = []
      await stranger.stop()
    }
  })

  it('do not come from a node that libp2p does not find', async () => {
    const stranger = await loadOrCreateIdentity(join(folder.path, 'stranger.key'))
    const request = blob.request(0, await emptyFile('nobody'), { ...parent.unreached, peerId: stranger.peerId })
    const beganMs = performance.now()
    await expect(child.pool.fetchPiece(request, never)).rejects.toMatchObject({ code: 'unreachable' })
    expect(performance.now() - beganMs).toBeLessThan(4000)
  })

  it('slow the sender down while they are not read, and hold no more than some', { timeout: 30_000 }, async () => {
    const stream = await child.swarm.openPieceStream(parent.peerId, [], never)
    const count = bytesOf(stream)
    const { digest, layout } = blob
    const frames = Array.from({ length: 16 }, (_, piece) =>
      encodeFrame({
        type: 'request',
        id: piece,
        digest,
        piece,
        offset: layout.offset(piece),
        length: layout.length(piece),
      }),
    )
    stream.pause()
    stream.send(Buffer.concat([HELLO, ...frames]))
    const sent = () =>
      parent.metric('shoal_lane_requests_total', { direction: 'sent', transport: 'libp2p', outcome: 'ok' })
    const before = (await sent()) ?? 0
    // The window of a stream, and what is on its way between the parent's threads.
    await new Promise((resolve) => setTimeout(resolve, 1000))
    expect(((await sent()) ?? 0) - before).toBeLessThan(8)
    expect(stream.readBufferLength).toBeLessThan(4 * MIB)
    stream.resume()
    const all = frames.reduce((sum, _, piece) => sum + layout.length(piece), 0)
    await vi.waitFor(() => expect(count()).toBeGreaterThan(all), { timeout: 10_000 })
    stream.abort(new Error('enough'))
  })

  it('end with a stream that breaks', async () => {
    await vi.waitFor(async () => expect(await served()).toBe(1), { timeout: 5000 })
    const stream = await child.swarm.openPieceStream(parent.peerId, [], never)
    await vi.waitFor(async () => expect(await served()).toBe(2))
    stream.abort(new Error('gone'))
    await vi.waitFor(async () => expect(await served()).toBe(1))
  })

  it('are not given on more streams of one peer than it may have threads', async () => {
    const streams: Stream[] = []
    // One is the pool's own.
    for (let count = 1; count < 64; count++) streams.push(await child.swarm.openPieceStream(parent.peerId, [], never))
    await vi.waitFor(async () => expect(await served()).toBe(64), { timeout: 5000 })
    const oneMore = child.swarm.openPieceStream(parent.peerId, [], never)
    await vi.waitFor(async () => expect((await oneMore.catch(() => undefined))?.status).not.toBe('open'))
    expect(await served()).toBe(64)
    for (const stream of streams) stream.abort(new Error('enough'))
    await vi.waitFor(async () => expect(await served()).toBe(1))
  })

  it('are not fetched any more when nobody wants them', async () => {
    const abort = new AbortController()
    const stream = Promise.withResolvers<Stream>()
    const opening = vi.spyOn(child.swarm, 'openPieceStream').mockReturnValue(stream.promise)
    const other = await loadOrCreateIdentity(join(folder.path, 'other.key'))
    const request = blob.request(0, await emptyFile('unwanted'), { ...parent.unreached, peerId: other.peerId })
    const fetch = child.pool.fetchPiece(request, abort.signal)
    await vi.waitFor(() => expect(opening).toHaveBeenCalledOnce())
    abort.abort()
    await expect(fetch).rejects.toMatchObject({ code: 'aborted' })
    const signal = opening.mock.lastCall?.[2]
    await vi.waitFor(() => expect(signal?.aborted).toBe(true))
    opening.mockRestore()
    const late = await child.swarm.openPieceStream(parent.peerId, [], never)
    stream.resolve(late)
    await vi.waitFor(() => expect(late.status).toBe('aborted'))
  })

  it('give way to the lane once it is reached', async () => {
    const file = await emptyFile('again')
    const lane = createServer((socket) => {
      const through = connect({ host: '127.0.0.1', port: parent.pool.lanePort })
      socket.pipe(through).pipe(socket)
      for (const end of [socket, through]) end.on('error', () => end.destroy())
    })
    const listen = async (port: number) => {
      lane.listen(port, '127.0.0.1')
      await once(lane, 'listening')
      return (lane.address() as AddressInfo).port
    }
    const port = await listen(0)
    lane.close()
    await once(lane, 'close')
    const fetch = (piece: number) =>
      child.pool.fetchPiece(blob.request(piece, file, { ...parent.unreached, port }), never)
    await fetch(0)
    await listen(port)
    const said = () => child.log.some(({ msg }) => msg === 'the lane of a node is reached again')
    await fetch(1)
    expect(said()).toBe(false)
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 6000)
    await fetch(2)
    await vi.waitFor(() => expect(said()).toBe(true), { timeout: 5000 })
    clock.mockRestore()
    expect(await received('tls')).toBe(0)
    await fetch(3)
    expect(await received('tls')).toBe(blob.layout.length(3))
    lane.close()
  })
})
