import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { tcp } from '@libp2p/tcp'
import { createLogger, digestOf } from '@shoal/core'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { createLibp2p } from 'libp2p'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { HoldingsSource } from '../../../src/swarm/holders.ts'
import type { LookUp } from '../../../src/swarm/look-up.ts'
import { createSwarmMetrics } from '../../../src/swarm/metrics.ts'
import { Swarm, type SwarmOptions } from '../../../src/swarm/swarm.ts'

const unknownHost: LookUp = async () => {
  throw new Error('no such host')
}
const freePort = async () => {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
/** Noise, by which the first connection that comes in is ready only after `until`. */
const firstIsLate = (until: () => Promise<void>) => (components: Parameters<ReturnType<typeof noise>>[0]) => {
  const encrypter = noise()(components)
  const secure = encrypter.secureInbound.bind(encrypter)
  let count = 0
  encrypter.secureInbound = async (...connection: Parameters<typeof secure>) => {
    if (count++ === 0) await until()
    return secure(...connection)
  }
  return encrypter
}
const nothing: HoldingsSource = { holdings: async () => undefined, fetchForOthers: async () => {} }

describe('swarm', () => {
  let folder: string
  const swarms: Swarm[] = []

  const make = async (name: string, options: Partial<SwarmOptions> = {}, lookUp: LookUp = unknownHost) => {
    const identity = await loadOrCreateIdentity(join(folder, name))
    const metrics = createSwarmMetrics(
      new Registry(),
      () => 0,
      () => 0,
    )
    const all = { host: '127.0.0.1', port: 0, bootstrap: [], bootstrapDns: [], mdns: false, ...options }
    const lane = () => ({ host: '', port: 1 })
    const log = createLogger('test', 'silent')
    const swarm = new Swarm(all, { identity, source: nothing, lane, metrics, log, lookUp })
    swarms.push(swarm)
    return Object.assign(swarm, { dials: async () => (await metrics.bootstrapDials.get()).values })
  }
  const portOf = (swarm: Swarm) => Number(/tcp\/(\d+)/.exec(swarm.multiaddrs[0] ?? '')?.[1])

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'shoal-swarm-'))
  })
  afterAll(async () => {
    await Promise.all(swarms.map((swarm) => swarm.stop()))
    await rm(folder, { recursive: true })
  })

  it('asks a node that it never met, by the addresses that it was told', async () => {
    const a = await make('asker')
    const b = await make('asked')
    await a.start()
    await b.start()
    const ask = (multiaddrs: readonly string[]) =>
      a.ask(
        { peerId: b.peerId, multiaddrs },
        { digest: digestOf('a layer'), size: 7 },
        undefined,
        AbortSignal.timeout(5000),
      )
    await expect(ask([])).rejects.toThrow()
    expect(await ask(b.multiaddrs)).toBeUndefined()
    expect(a.peerCount).toBe(1)
  })

  it('finds over private addresses who provides a blob, through a third node', async () => {
    const a = await make('a')
    await a.start()
    const b = await make('b', { bootstrap: a.multiaddrs })
    const c = await make('c', { bootstrap: a.multiaddrs })
    await b.start()
    await c.start()
    await vi.waitFor(() => expect(a.peerCount).toBe(2), { timeout: 10_000 })
    const digest = digestOf('a layer')
    b.provide(digest)
    await vi.waitFor(
      async () => {
        const found = await Array.fromAsync(c.find(digest, AbortSignal.timeout(5000)))
        expect(found).toEqual([b.peerId])
      },
      { timeout: 15_000 },
    )
  })

  it('finds a node to start from that comes up later', { timeout: 30_000 }, async () => {
    const late = await make('late')
    await late.start()
    const addresses = late.multiaddrs
    const port = portOf(late)
    await late.stop()
    const early = await make('early', { bootstrap: addresses })
    await early.start()
    const again = await make('late', { port })
    await again.start()
    await vi.waitFor(() => expect(early.peerCount).toBe(1), { timeout: 25_000 })
  })

  it('finds a node by a name alone, once the name has its address', async () => {
    const named = await make('named')
    await named.start()
    const records: string[] = []
    const lookUp = vi.fn<LookUp>(async () => records)
    const searcher = await make('searcher', { bootstrapDns: [`peers:${portOf(named)}`] }, lookUp)
    await searcher.start()
    await vi.waitFor(() => expect(lookUp).toHaveBeenCalledTimes(2), { timeout: 5000 })
    expect(searcher.peerCount).toBe(0)
    records.push('127.0.0.1')
    await vi.waitFor(() => expect([named.peerCount, searcher.peerCount]).toEqual([1, 1]), { timeout: 10_000 })
    expect(await searcher.dials()).toEqual([{ value: 1, labels: { source: 'dns', outcome: 'connected' } }])
  })

  it('does not dial by name who has dialled it, though it looks for more nodes', async () => {
    const dialler = await make('dialler')
    await dialler.start()
    const lookUp = vi.fn<LookUp>(async () => (dialled.peerCount === 0 ? [] : ['127.0.0.1']))
    const dialled: Awaited<ReturnType<typeof make>> = await make(
      'dialled',
      { bootstrapDns: [`peers:${portOf(dialler)}`] },
      lookUp,
    )
    await dialled.start()
    dialler.bootstrap(dialled.multiaddrs)
    await vi.waitFor(() => expect(dialled.peerCount).toBe(1), { timeout: 10_000 })
    const rounds = lookUp.mock.calls.length
    await vi.waitFor(() => expect(lookUp.mock.calls.length).toBeGreaterThan(rounds + 1), { timeout: 15_000 })
    expect(await dialled.dials()).toEqual([])
  })

  it('keeps one connection to a node that a name gives several addresses of', async () => {
    const opened = vi.fn()
    const node = await createLibp2p({
      addresses: { listen: ['/ip4/0.0.0.0/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [firstIsLate(() => vi.waitFor(() => expect(opened).toHaveBeenCalled(), { timeout: 5000 }))],
      streamMuxers: [yamux()],
    })
    try {
      node.addEventListener('connection:open', opened)
      const port = Number(/tcp\/(\d+)/.exec(node.getMultiaddrs()[0]?.toString() ?? '')?.[1])
      const lookUp = async () => ['127.0.0.1', '127.0.0.2', '127.0.0.3']
      const searcher = await make('one-of-three', { bootstrapDns: [`peers:${port}`] }, lookUp)
      await searcher.start()
      await vi.waitFor(() => expect(opened).toHaveBeenCalledTimes(3), { timeout: 5000 })
      await vi.waitFor(() => expect(node.getConnections()).toHaveLength(1), { timeout: 5000 })
      expect(searcher.peerCount).toBe(1)
      expect(await searcher.dials()).toEqual([{ value: 1, labels: { source: 'dns', outcome: 'connected' } }])
    } finally {
      await node.stop()
    }
  })

  it('takes itself neither for another node nor for one that does not answer', async () => {
    // That of an interface, and one at which it is reached without knowing, like the address of a NAT.
    const lookUp = vi.fn<LookUp>(async () => ['127.0.0.1', '127.0.0.2'])
    const port = await freePort()
    const alone = await make('alone', { host: '0.0.0.0', port, bootstrapDns: [`peers:${port}`] }, lookUp)
    await alone.start()
    await vi.waitFor(() => expect(lookUp).toHaveBeenCalledTimes(3), { timeout: 10_000 })
    expect(alone.peerCount).toBe(0)
    expect(await alone.dials()).toEqual([])
  })

  it('listens on both families by default, and tells each its addresses', async () => {
    const port = await freePort()
    const both = await make('both', { host: '::', port })
    await both.start()
    for (const [name, address] of [
      ['by IPv4', `/ip4/127.0.0.1/tcp/${port}`],
      ['by IPv6', `/ip6/::1/tcp/${port}`],
    ] as const) {
      const other = await make(name)
      await other.start()
      other.bootstrap([`${address}/p2p/${both.peerId}`])
      await vi.waitFor(() => expect(other.peerCount).toBe(1), { timeout: 10_000 })
    }
    expect(both.multiaddrs.every((one) => /tcp\/\d+\/p2p\//.test(one))).toBe(true)
    if (both.isShared) expect(both.multiaddrs.filter((one) => /\/(127\.|::1\/)/.test(one))).toEqual([])
  })

  it.each(['0.0.0.0', '::'])(
    'does not listen on one family alone when the other has its port in use (%s)',
    async (host) => {
      const server = createServer().listen({ host, port: 0, ipv6Only: host === '::' })
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      try {
        const swarm = await make('half', { host: '::', port })
        await expect(swarm.start()).rejects.toThrow(`libp2p can not listen on :::${port}: the port is in use`)
      } finally {
        server.close()
      }
    },
  )

  it('says which port is in use', async () => {
    const first = await make('d')
    await first.start()
    const port = portOf(first)
    const second = await make('e', { port })
    await expect(second.start()).rejects.toThrow(`libp2p can not listen on 127.0.0.1:${port}: the port is in use`)
  })
})
