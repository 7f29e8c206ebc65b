import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLogger, digestOf } from '@shoal/core'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { createLibp2p, type Libp2p } from 'libp2p'
import { Registry } from 'prom-client'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { HolderFinder, Holdings, Wanted } from '../../../src/swarm/holders.ts'
import { createSwarmMetrics } from '../../../src/swarm/metrics.ts'
import { Swarm } from '../../../src/swarm/swarm.ts'
import { holdingsOf } from './holdings-of.ts'
import { MemoryNetwork } from './memory-network.ts'

const MIB = 1024 * 1024
const size = 14 * MIB
const digest = digestOf('a layer')
const signal = () => AbortSignal.timeout(10_000)

/** What the nodes of a network hold, and what they were asked to fetch. */
class Held {
  readonly byNode = new Map<string, Holdings>()
  readonly wanted: [name: string, digest: string, wanted: Wanted, asker: string][] = []
  /** When it is known what comes of a wish. */
  whenKnown: Promise<void> = Promise.resolve()

  sourceOf(name: string) {
    return {
      holdings: async (which: string) => (which === digest ? this.byNode.get(name) : undefined),
      fetchForOthers: async (which: string, wanted: Wanted, asker: string) => {
        this.wanted.push([name, which, wanted, asker])
        await this.whenKnown
      },
    }
  }
}

interface Network {
  readonly nodes: readonly (HolderFinder & { provide(digest: string): void })[]
  readonly host: string
  stop(): Promise<void>
}

async function memoryNetwork(held: Held): Promise<Network> {
  const network = new MemoryNetwork()
  const nodes = ['a', 'b', 'c', 'd'].map((name) => network.join(name, held.sourceOf(name)))
  return { nodes, host: 'h', stop: async () => {} }
}

async function libp2pNetwork(held: Held): Promise<Network> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-holders-'))
  const nodes: Swarm[] = []
  for (const name of ['a', 'b', 'c', 'd']) {
    const swarm = new Swarm(
      {
        host: '127.0.0.1',
        port: 0,
        bootstrap: nodes.flatMap((node) => node.multiaddrs),
        bootstrapDns: [],
        mdns: false,
      },
      {
        identity: await loadOrCreateIdentity(join(folder, name)),
        source: held.sourceOf(name),
        lane: () => ({ host: '', port: 1 }),
        metrics: createSwarmMetrics(
          new Registry(),
          () => 0,
          () => 0,
        ),
        log: createLogger('test', 'silent'),
      },
    )
    await swarm.start()
    nodes.push(swarm)
  }
  await vi.waitFor(() => expect(nodes.map((node) => node.peerCount)).toEqual([3, 3, 3, 3]), { timeout: 15_000 })
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await rm(folder, { recursive: true })
  }
  return { nodes, host: '127.0.0.1', stop }
}

describe.each([
  ['in memory', memoryNetwork],
  ['over libp2p', libp2pNetwork],
])('finding holders %s', (_, open) => {
  let held: Held
  let network: Network
  const node = (index: number) => network.nodes[index] as Network['nodes'][number]

  beforeEach(async () => {
    held = new Held()
    network = await open(held)
  })
  afterEach(() => network.stop())

  it('names those that provide the blob, never oneself', async () => {
    for (const index of [0, 1]) node(index).provide(digest)
    const expected = new Map([
      [0, [1]],
      [3, [0, 1]],
    ])
    for (const [index, others] of expected) {
      await vi.waitFor(
        async () => {
          const found = await Array.fromAsync(node(index).find(digest, signal()))
          expect(found.sort()).toEqual(others.map((other) => node(other).peerId).sort())
        },
        { timeout: 15_000 },
      )
    }
  })

  it('tells what a node holds, and where its lane is', async () => {
    const holdings = holdingsOf(size, [0, 5, 27], true)
    held.byNode.set('b', holdings)
    const holder = await node(0).ask({ peerId: node(1).peerId }, { digest, size }, undefined, signal())
    expect(holder).toMatchObject({ peerId: node(1).peerId, host: network.host, port: 1, size, isFetching: true })
    expect(holder?.have.toBytes()).toEqual(holdings.have.toBytes())
    expect(holder?.sha256s).toEqual(holdings.sha256s)
    expect(held.wanted).toEqual([])
  })

  it('tells nothing of what a node does not hold, or holds with another size', async () => {
    held.byNode.set('b', holdingsOf(size + 1, [0]))
    for (const index of [1, 2]) {
      expect(await node(0).ask({ peerId: node(index).peerId }, { digest, size }, undefined, signal())).toBeUndefined()
    }
  })

  it('hands on what a node is wanted to fetch', async () => {
    const wanted = { size, registry: 'origin:5000', repository: 'app', firstPiece: 14 }
    await node(0).ask({ peerId: node(2).peerId }, { digest, size }, wanted, signal())
    expect(held.wanted).toEqual([['c', digest, wanted, node(0).peerId]])
  })

  it('answers a wish when it is known what comes of it', async () => {
    const known = Promise.withResolvers<void>()
    held.whenKnown = known.promise.then(() => {
      held.byNode.set('c', { ...holdingsOf(size, []), fetcher: 'somebody' })
    })
    const wanted = { size, registry: 'origin:5000', repository: 'app', firstPiece: 0 }
    const asking = node(0).ask({ peerId: node(2).peerId }, { digest, size }, wanted, signal())
    await vi.waitFor(() => expect(held.wanted).toHaveLength(1))
    known.resolve()
    expect(await asking).toMatchObject({ fetcher: 'somebody', isFetching: false })
  })

  it('has all nodes agree on which of them are nearest', async () => {
    const all = new Set(network.nodes.map(({ peerId }) => peerId))
    for (const name of ['one', 'two', 'three']) {
      await vi.waitFor(async () => {
        const views = await Promise.all(network.nodes.map((one) => one.nearest(digestOf(name), 2, signal())))
        expect(new Set(views.map((view) => view.join(' '))).size).toBe(1)
        expect(views[0]).toHaveLength(2)
        for (const peerId of views[0] ?? []) expect(all.has(peerId)).toBe(true)
      })
    }
  })

  it('rejects when the node does not answer', async () => {
    const nobody = '12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA'
    await expect(node(0).ask({ peerId: nobody }, { digest, size }, undefined, signal())).rejects.toThrow()
  })
})

describe('the holdings protocol, asked by strangers', () => {
  const held = new Held()
  let folder: string
  let swarm: Swarm
  let stranger: Libp2p
  const metrics = createSwarmMetrics(
    new Registry(),
    () => 0,
    () => 0,
  )
  const questions = async (outcome: string) =>
    (await metrics.questions.get()).values.find(({ labels }) => labels.outcome === outcome)?.value ?? 0

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'shoal-stranger-'))
    swarm = new Swarm(
      { host: '127.0.0.1', port: 0, bootstrap: [], bootstrapDns: [], mdns: false },
      {
        identity: await loadOrCreateIdentity(join(folder, 'key')),
        source: held.sourceOf('a'),
        lane: () => ({ host: '', port: 1 }),
        metrics,
        log: createLogger('test', 'silent'),
      },
    )
    await swarm.start()
    stranger = await createLibp2p({ transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()] })
  })
  afterAll(async () => {
    await stranger.stop()
    await swarm.stop()
    await rm(folder, { recursive: true })
  })

  const ask = async (bytes: Uint8Array) => {
    const connection = await stranger.dial(multiaddr(swarm.multiaddrs[0] ?? ''))
    const stream = await connection.newStream('/shoal/holdings/2.0.0')
    const ended = new Promise<string>((resolve) => {
      stream.addEventListener('close', ({ error }) => resolve(error === undefined ? 'closed' : 'reset'))
      if (stream.status !== 'open') resolve(stream.status)
    })
    try {
      stream.send(bytes)
      await stream.close()
    } catch {
      // It was reset before all of it was sent.
    }
    return ended
  }

  it('resets the stream of a question that is none, or too long', async () => {
    expect(await ask(Buffer.from('GET / HTTP/1.1'))).toBe('reset')
    expect(await ask(Buffer.alloc(100_000, 7))).toBe('reset')
    await vi.waitFor(async () => expect([await questions('malformed'), await questions('broken')]).toEqual([1, 1]))
  })

  it('turns away who asks without end', async () => {
    while ((await questions('refused')) === 0) {
      const ends = await Promise.all(Array.from({ length: 20 }, () => ask(Buffer.from('x'))))
      expect(new Set(ends)).toEqual(new Set(['reset']))
    }
  })
})
