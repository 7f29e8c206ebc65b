import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ByteRange, createLogger, type DigestAlgorithm, digestOf, HaveSet, PieceLayout } from '@shoal/core'
import { OriginError } from '@shoal/origin'
import { Registry } from 'prom-client'
import type { Coordinator, ParentNode, PieceAssignment } from '../../../src/coordinator/events.ts'
import type { GrowingBlob, OriginRequest, PieceWorkers } from '../../../src/download/dependencies.ts'
import { Downloads } from '../../../src/download/downloads.ts'
import { createDownloadMetrics } from '../../../src/download/metrics.ts'
import { LaneError } from '../../../src/lane/errors.ts'
import type { PieceRequest } from '../../../src/lane/piece-fetch.ts'
import { NodeBlobs } from '../../../src/runtime-content/node-blobs.ts'
import type { RuntimeContent } from '../../../src/runtime-content/runtime-content.ts'
import type { BlobStore } from '../../../src/store/store.ts'
import { hashUnhurried } from '../../../src/workers/hashing.ts'
import { makeRuntimeContent } from '../runtime-content/kit.ts'
import { makeStore } from '../store/kit.ts'
import { type MemoryFinder, MemoryNetwork } from '../swarm/memory-network.ts'

export const content = createHash('shake256', { outputLength: 3_000_000 }).update('content').digest()
export const digest = digestOf(content)
export const layout = new PieceLayout(content.byteLength)
export const source = { registry: 'origin:5000', repository: 'app' }
export const options = {
  originStreams: 2,
  schedulerGraceMs: 1000,
  patienceMs: 15_000,
  holderStreams: 2,
  holdersMs: 1000,
  rendezvousMs: 1500,
}
export const request = { digest, size: content.byteLength, source }

function pieceOf(bytes: Buffer, piece: number): Buffer {
  return bytes.subarray(layout.offset(piece), layout.offset(piece) + layout.length(piece))
}

/** The engine on a real store, with the network's side scripted: who sends what, and what the scheduler hears. */
export class World implements PieceWorkers {
  readonly dataDir: string
  readonly store: BlobStore
  readonly runtime: RuntimeContent
  readonly downloads: Downloads
  readonly heard: string[] = []
  readonly begun: string[] = []
  readonly published: string[] = []
  /** The nodes that are to be found without a scheduler; this one is `self`. */
  readonly network: MemoryNetwork
  readonly finder: MemoryFinder
  readonly registry = new Registry()
  /** What the origin serves; undefined: it fails with `originError`. */
  originBytes: Buffer | undefined = content
  /** Whether the origin refuses who comes without credentials. */
  isPrivate = false
  /** What the origin fails with. */
  originError: unknown = new Error('the origin is away')
  originRequests: OriginRequest[] = []
  /** Pieces that were asked of other nodes: `PIECE PEER`. */
  readonly pieceRequests: string[] = []
  /** Parents that send nothing: a fetch from one ends, as stalled, when it is hurried. */
  readonly quiet = new Set<string>()
  /** Whether no piece from the origin is ever whole. */
  isOriginSlow = false
  /** Where the last of these fetches counts what comes. */
  arrivals = new Int32Array(new SharedArrayBuffer(4))
  /** Fetches that were hurried: `PIECE PEER`. */
  readonly hurried: string[] = []
  /** What the origin says of the size; an Error is thrown instead. */
  originSize: number | Error = content.byteLength
  /** What chance says, 0 ≤ x < 1. */
  random = 0
  /** Whether the origin was seen to hold the blob before. */
  isProven = true
  /** Blobs that it was seen to hold now: `REGISTRY/REPOSITORY`. */
  readonly proven: string[] = []
  /** What the origin gives who asks for a few bytes; undefined: it is away. */
  ownBytes: Buffer | undefined = content
  /** Ranges that it was asked for so. */
  readonly parts: ByteRange[] = []
  /** What each parent sends, by peer id; an Error is thrown instead. */
  readonly parents = new Map<string, Buffer | Error>()
  nowMs = 0
  isConnected = true
  /** Whether the node's own rate limits hold it back. */
  isHeldBack = () => false

  /**
   * @param containerdContent folder of a runtime's content; empty: none
   * @param self what the network of libp2p nodes knows this one by
   */
  static async open(
    dataDir?: string,
    containerdContent = '',
    network = new MemoryNetwork(),
    self = 'self',
  ): Promise<World> {
    const folder = dataDir ?? (await mkdtemp(join(tmpdir(), 'shoal-download-')))
    const world = new World(folder, containerdContent, network, self)
    await world.store.start()
    await world.downloads.start()
    await world.runtime.start()
    return world
  }

  /** One that has no scheduler. */
  static async openAlone(): Promise<World> {
    const world = await World.open()
    world.isConnected = false
    world.nowMs = 5000
    return world
  }

  private constructor(dataDir: string, containerdContent: string, network: MemoryNetwork, self: string) {
    this.dataDir = dataDir
    this.network = network
    this.finder = network.join(self, {
      holdings: (which) => this.downloads.holdings(which),
      fetchForOthers: (which, wanted, asker) => this.downloads.fetchForOthers(which, wanted, asker),
    })
    const log = createLogger('test', 'silent')
    this.store = makeStore(dataDir, {}, { hasher: this }).store
    this.runtime = makeRuntimeContent(containerdContent, this.store.index, {
      hasher: this,
      listener: {
        found: (blob) => this.downloads.found(blob),
        vanished: (which) => this.downloads.vanished(which),
      },
    }).content
    this.downloads = new Downloads(options, {
      store: new NodeBlobs(this.store, this.runtime),
      workers: this,
      hasher: this,
      coordinator: this.#coordinator(),
      finder: this.finder,
      metrics: createDownloadMetrics(this.registry, () => 0),
      log,
      now: () => this.nowMs,
      random: () => this.random,
      isHeldBack: () => this.isHeldBack(),
      begun: (which) => {
        this.begun.push(which)
        this.finder.provide(which)
      },
      published: (which) => {
        this.published.push(which)
        this.finder.provide(which)
      },
      origin: {
        blobSize: async (_digest, { authorization }) => {
          if (this.isPrivate && authorization === undefined) throw new OriginError('UNAUTHORIZED', 'who are you?')
          if (this.originSize instanceof Error) throw this.originSize
          return this.originSize
        },
        fetchBlob: async ({ start, end }, onChunk) => {
          this.parts.push({ start, end })
          if (this.ownBytes === undefined) throw new OriginError('UNAVAILABLE', 'the origin is away')
          onChunk(this.ownBytes.subarray(start, end + 1))
          return { rangesIgnored: false }
        },
      },
      randomOf: () => () => this.random,
      possessions: {
        isProven: () => this.isProven,
        proven: ({ registry, repository }) => void this.proven.push(`${registry}/${repository}`),
      },
      bootstrap: () => {},
    })
  }

  /** The clock goes on: the next check looks again. */
  later(ms = 1000): void {
    this.nowMs += ms
  }

  /** Stops as a crash would: nothing is deleted. */
  async stop(): Promise<void> {
    await this.runtime.stop()
    await this.downloads.stop()
    await this.store.stop()
  }

  async remove(): Promise<void> {
    await this.stop()
    await rm(this.dataDir, { recursive: true })
  }

  /** Has the scheduler assign a piece. */
  assign(piece: number, peerId = 'p1', role: ParentNode['role'] = 'peer'): void {
    this.downloads.assigned(this.assignment(piece, peerId, role))
  }

  assignment(piece: number, peerId: string, role: ParentNode['role']): PieceAssignment {
    const parent = { number: 1, peerId, host: 'h', port: 1, role, multiaddrs: [] }
    return { digest, piece, parent, sha256: createHash('sha256').update(pieceOf(content, piece)).digest() }
  }

  hashUnhurried(file: string, size: number, algorithm: DigestAlgorithm, signal: AbortSignal) {
    return hashUnhurried({ file, size, algorithm }, signal)
  }

  async fetchPiece(wanted: PieceRequest, signal: AbortSignal, hurry: AbortSignal): Promise<{ durationMs: number }> {
    const what = `${wanted.piece} ${wanted.parent.peerId}`
    this.pieceRequests.push(what)
    if (this.quiet.has(wanted.parent.peerId)) {
      if (wanted.arrivals !== undefined) this.arrivals = wanted.arrivals
      await once(AbortSignal.any([signal, hurry]), 'abort')
      if (!signal.aborted) this.hurried.push(what)
      throw new LaneError('stalled', 'quiet')
    }
    const bytes = this.parents.get(wanted.parent.peerId)
    if (!(bytes instanceof Buffer)) throw bytes ?? new Error('unknown parent')
    await write(wanted, pieceOf(bytes, wanted.piece), wanted.offset)
    return { durationMs: 1 }
  }

  async fetchFromOrigin(
    wanted: OriginRequest,
    onPiece: (piece: number, sha256: Uint8Array) => void,
    signal: AbortSignal,
  ) {
    this.originRequests.push(wanted)
    if (this.isPrivate && wanted.source.authorization === undefined) throw new OriginError('UNAUTHORIZED', 'who?')
    if (this.isOriginSlow) {
      if (wanted.arrivals !== undefined) this.arrivals = wanted.arrivals
      await once(signal, 'abort')
      throw new LaneError('aborted', 'the node stops')
    }
    if (this.originBytes === undefined) throw this.originError
    for (let piece = wanted.firstPiece; piece < wanted.firstPiece + wanted.pieceCount; piece++) {
      const bytes = pieceOf(this.originBytes, piece)
      await write(wanted, bytes, layout.offset(piece))
      onPiece(piece, createHash('sha256').update(bytes).digest())
    }
    return { rangesIgnored: false }
  }

  async hashGrowing({ file, algorithm, have, progress }: GrowingBlob, signal: AbortSignal): Promise<string> {
    const aborted = once(signal, 'abort').then(() => signal.throwIfAborted())
    for (;;) {
      const seen = Atomics.load(progress, 0)
      if (new HaveSet(layout.count, have).isComplete) return this.hashBlob(file, algorithm)
      const change = Atomics.waitAsync(progress, 0, seen)
      if (change.async) await Promise.race([change.value, aborted])
    }
  }

  async hashBlob(file: string, algorithm: string): Promise<string> {
    return createHash(algorithm)
      .update(await readFile(file))
      .digest('hex')
  }

  async hashPieces(file: string, _size: number, pieces: readonly number[]): Promise<Uint8Array[]> {
    const bytes = await readFile(file)
    return pieces.map((piece) => createHash('sha256').update(pieceOf(bytes, piece)).digest())
  }

  /** Reads the whole blob as a client would. */
  async read(range = { start: 0, end: content.byteLength - 1 }, authorization?: string): Promise<Buffer> {
    const own = authorization === undefined ? source : { ...source, authorization }
    const signal = AbortSignal.timeout(10_000)
    const reader = await this.downloads.open({ ...request, source: own }, signal)
    const chunks: Buffer[] = []
    try {
      for await (const chunk of reader.read(range, signal)) chunks.push(Buffer.from(chunk))
    } finally {
      await reader.close()
    }
    return Buffer.concat(chunks)
  }

  #coordinator(): Coordinator {
    const hear =
      (name: string) =>
      (_digest: string, ...rest: unknown[]) => {
        const words = rest.map((value) => (typeof value === 'number' ? value : undefined))
        this.heard.push([name, ...words.filter((value) => value !== undefined)].join(' '))
      }
    const world = this
    return {
      get isConnected() {
        return world.isConnected
      },
      holding: hear('holding'),
      holdingPart: (_digest, _size, have) => void this.heard.push(`part ${Buffer.from(have).toString('hex')}`),
      withdrawn: hear('withdrawn'),
      join: (_digest, _size, _origin, have, urgency) => {
        const words = ['join', Buffer.from(have).toString('hex'), urgency === 'prefetch' ? urgency : undefined]
        this.heard.push(words.filter((word) => word !== undefined).join(' '))
      },
      leave: hear('leave'),
      pieceEnding: (_digest, piece, parent) => void this.heard.push(`ending ${piece} ${parent.peerId}`),
      pieceDone: (_digest, piece, parent) => void this.heard.push(`done ${piece} ${parent.peerId}`),
      pieceFetched: (_digest, piece) => void this.heard.push(`fetched ${piece}`),
      pieceFailed: (_digest, piece, parent, reason) =>
        void this.heard.push(`failed ${piece} ${parent.peerId} ${reason}`),
      leaseProgress: hear('leaseProgress'),
      leaseFailed: hear('leaseFailed'),
      pieceMap: (_digest, size, map) => void this.heard.push(`map ${size} ${map.byteLength}`),
    }
  }
}

type Target = Pick<PieceRequest, 'file' | 'isNewFile'>

async function write({ file, isNewFile }: Target, bytes: Buffer, offset: number): Promise<void> {
  const handle = await open(file, isNewFile ? 'w' : 'r+')
  await handle.write(bytes, 0, bytes.byteLength, offset)
  await handle.close()
}
