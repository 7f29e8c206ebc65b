import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { mdns } from '@libp2p/mdns'
import { tcp } from '@libp2p/tcp'
import { createLogger, withDeadline } from '@shoal/core'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { createLibp2p, type Libp2p } from 'libp2p'
import { Registry } from 'prom-client'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { createSwarmMetrics } from '../../../src/swarm/metrics.ts'
import { Swarm } from '../../../src/swarm/swarm.ts'

const MDNS = { ip: '224.0.0.251', port: 5353 }

async function join5353(): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  socket.bind(MDNS.port)
  await once(socket, 'listening')
  socket.addMembership(MDNS.ip)
  return socket
}

/** Whether what is sent by multicast comes back to another socket of this host. */
async function hasMulticast(): Promise<boolean> {
  const sockets: Socket[] = []
  try {
    const sender = await join5353()
    sockets.push(sender)
    const receiver = await join5353()
    sockets.push(receiver)
    const received = once(receiver, 'message', { signal: withDeadline(2000) })
    sender.send('shoal: does multicast work?', MDNS.port, MDNS.ip)
    await received
    return true
  } catch {
    return false
  } finally {
    for (const socket of sockets) socket.close()
  }
}

describe.skipIf(!(await hasMulticast()))('multicast DNS', () => {
  let folder: string
  const running: { stop(): unknown }[] = []

  const make = async (name: string, isOn: boolean) => {
    const metrics = createSwarmMetrics(
      new Registry(),
      () => 0,
      () => 0,
    )
    const swarm = new Swarm(
      { host: '127.0.0.1', port: 0, bootstrap: [], bootstrapDns: [], mdns: isOn },
      {
        identity: await loadOrCreateIdentity(join(folder, name)),
        source: { holdings: async () => undefined, fetchForOthers: async () => {} },
        lane: () => ({ host: '', port: 1 }),
        metrics,
        log: createLogger('test', 'silent'),
      },
    )
    running.push(swarm)
    await swarm.start()
    return Object.assign(swarm, {
      mdnsFailures: async () => (await metrics.mdnsFailures.get()).values[0]?.value ?? 0,
    })
  }
  /** A program that has nothing to do with Shoal but speaks libp2p and multicast DNS. */
  const foreign = async (found: string[]): Promise<Libp2p> => {
    const node = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      peerDiscovery: [mdns({ interval: 100 })],
    })
    running.push(node)
    node.addEventListener('peer:discovery', ({ detail }) => found.push(detail.id.toString()))
    return node
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'shoal-mdns-'))
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((node) => node.stop()))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('has nodes find each other that were told of nobody', async () => {
    const a = await make('a', true)
    const b = await make('b', true)
    await vi.waitFor(() => expect([a.peerCount, b.peerCount]).toEqual([1, 1]), { timeout: 15_000 })
  })

  it('finds neither nodes that have it off nor other programs, and is not found by these', async () => {
    const found: string[] = []
    const others = [await foreign(found), await foreign(found)]
    const off = await make('off', false)
    const a = await make('a', true)
    const b = await make('b', true)
    await vi.waitFor(() => expect([a.peerCount, b.peerCount]).toEqual([1, 1]), { timeout: 15_000 })
    const ids = others.map(({ peerId }) => peerId.toString())
    await vi.waitFor(() => expect(found).toEqual(expect.arrayContaining(ids)), { timeout: 15_000 })
    expect(found).not.toEqual(expect.arrayContaining([a.peerId]))
    expect(found).not.toEqual(expect.arrayContaining([b.peerId]))
    expect([a.peerCount, b.peerCount, off.peerCount]).toEqual([1, 1, 0])
  })

  it('counts what it does not understand', async () => {
    const a = await make('a', true)
    const socket = await join5353()
    running.push({ stop: () => socket.close() })
    await vi.waitFor(
      async () => {
        socket.send('not DNS', MDNS.port, MDNS.ip)
        expect(await a.mdnsFailures()).toBeGreaterThan(0)
      },
      { timeout: 10_000 },
    )
  })
})
