import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLogger, digestOf } from '@shoal/core'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { Key } from 'interface-datastore'
import { createLibp2p } from 'libp2p'
import { Registry } from 'prom-client'
import { describe, expect, it, vi } from 'vitest'
import { BoundedDatastore } from '../../../src/swarm/bounded-datastore.ts'
import { contentIdOf } from '../../../src/swarm/content-id.ts'
import { createSwarmMetrics } from '../../../src/swarm/metrics.ts'
import { Swarm } from '../../../src/swarm/swarm.ts'

const bounds = { ofNode: 10, ofBlob: 5, inAll: 40, named: 3 }
const keyOf = (blob: string, node: string) => new Key(`/dht/provider/${blob}/${node}`)
const value = new Uint8Array([1, 2, 3])

function store() {
  const datastore = new BoundedDatastore('self', () => 0.5, bounds)
  return {
    datastore,
    put: (blob: string, node: string) => void datastore.put(keyOf(blob, node), value),
    has: (blob: string, node: string) => datastore.has(keyOf(blob, node)),
    find: async (prefix: string) => {
      const found: string[] = []
      for await (const { key } of datastore.query({ prefix })) found.push(key.toString())
      return found
    },
  }
}

describe('records that others send', () => {
  it('are kept of one node up to a bound, the newest of them', () => {
    const { datastore, put, has } = store()
    for (let blob = 0; blob < 1000; blob++) put(`blob${blob}`, 'flooder')
    expect(datastore.providerCount).toBe(10)
    expect([has('blob989', 'flooder'), has('blob990', 'flooder')]).toEqual([false, true])
  })

  it('are kept of one blob up to a bound, the newest of them', () => {
    const { datastore, put, has } = store()
    for (let node = 0; node < 1000; node++) put('blob', `node${node}`)
    expect(datastore.providerCount).toBe(5)
    expect([has('blob', 'node994'), has('blob', 'node995')]).toEqual([false, true])
  })

  it('give way in all to those of who sent fewest', () => {
    const { datastore, put, has } = store()
    put('layer', 'honest')
    for (let name = 0; name < 30; name++) for (let blob = 0; blob < 10; blob++) put(`${name}-${blob}`, `liar${name}`)
    expect(datastore.providerCount).toBe(40)
    expect(has('layer', 'honest')).toBe(true)
    // As much is free as was taken: nothing is counted twice, or lost.
    for (let name = 0; name < 30; name++)
      for (let blob = 0; blob < 10; blob++) void datastore.delete(keyOf(`${name}-${blob}`, `liar${name}`))
    expect(datastore.providerCount).toBe(1)
  })

  it('never push out the records of this node', async () => {
    const { datastore, put, find } = store()
    for (let blob = 0; blob < 100; blob++) put(`own${blob}`, 'self')
    for (let node = 0; node < 100; node++) for (let blob = 0; blob < 100; blob++) put(`own${blob}`, `liar${node}`)
    expect(datastore.providerCount).toBeLessThanOrEqual(40)
    expect((await find('/dht/provider')).filter((key) => key.endsWith('/self'))).toHaveLength(100)
  })

  it('sent again count once', () => {
    const { datastore, put } = store()
    for (let time = 0; time < 100; time++) put('blob', 'node')
    expect(datastore.providerCount).toBe(1)
  })

  it('are found by blob, some by chance of many', async () => {
    const { put, find } = store()
    for (let node = 0; node < 5; node++) put('blob', `node${node}`)
    put('blobs', 'other')
    const found = await find('/dht/provider/blob')
    expect(found).toHaveLength(3)
    expect(found.every((key) => key.startsWith('/dht/provider/blob/'))).toBe(true)
    expect(await find('/dht/provider')).toHaveLength(6)
  })
})

describe('what else libp2p keeps', () => {
  it('is bounded in number and in bytes, the oldest going first', async () => {
    const { datastore, find } = store()
    for (let i = 0; i < 1000; i++) datastore.put(new Key(`/dht/record/${i}`), value)
    expect(await find('/dht/record/')).toHaveLength(256)
    for (let i = 0; i < 40; i++) datastore.put(new Key(`/peers/${i}`), new Uint8Array(1024 * 1024))
    const peers = await find('/peers/')
    expect(peers).toHaveLength(16)
    expect(peers).toContain('/peers/39')
    datastore.put(new Key('/elsewhere'), value)
    expect(await datastore.get(new Key('/elsewhere'))).toEqual(value)
  })
})

/** A field of a protobuf message: bytes. */
const field = (number: number, bytes: Uint8Array) =>
  Buffer.concat([Buffer.from([(number << 3) | 2]), varint(bytes.length), bytes])
const varint = (number: number): Buffer =>
  Buffer.from(number < 128 ? [number] : [(number & 127) | 128, ...varint(number >> 7)])

it('a stranger cannot make a node believe records of others, or keep all that it sends', {
  timeout: 60_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-records-'))
  const swarm = new Swarm(
    { host: '127.0.0.1', port: 0, bootstrap: [], bootstrapDns: [], mdns: false },
    {
      identity: await loadOrCreateIdentity(join(folder, 'identity.key')),
      source: { holdings: async () => undefined, fetchForOthers: async () => {} },
      lane: () => ({ host: '', port: 1 }),
      log: createLogger('test', 'silent'),
      metrics: createSwarmMetrics(
        new Registry(),
        () => 0,
        () => 0,
      ),
    },
  )
  const stranger = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
  })
  try {
    await swarm.start()
    const connection = await stranger.dial(swarm.multiaddrs.map((text) => multiaddr(text)))
    const own = stranger.peerId.toMultihash().bytes
    const other = (await loadOrCreateIdentity(join(folder, 'other.key'))).privateKey.publicKey.toMultihash().bytes
    const address = multiaddr('/ip4/10.0.0.1/tcp/1').bytes
    /** ADD_PROVIDER (libp2p/specs, kad-dht: type 2, key 2, providerPeers 9 with id 1 and addrs 2). */
    const record = (digest: string, provider: Uint8Array) => {
      const peer = Buffer.concat([field(1, provider), field(2, address)])
      const key = contentIdOf(digest)
      return Buffer.concat([Buffer.from([8, 2]), field(2, key.bytes), field(9, peer)])
    }
    const stream = await connection.newStream('/shoal/kad/1.0.0')
    const send = async (message: Uint8Array) => {
      if (!stream.send(Buffer.concat([varint(message.length), message]))) await stream.onDrain()
    }
    for (let i = 0; i < 100; i++) await send(record(digestOf(`of another ${i}`), other))
    for (let i = 0; i < 9000; i++) await send(record(digestOf(`own ${i}`), own))
    await vi.waitFor(() => expect(swarm.providerRecords).toBe(8192), { timeout: 40_000 })
    // What came first was looked at, and not kept.
    const found: string[] = []
    for await (const peerId of swarm.find(digestOf('of another 0'), AbortSignal.timeout(5000))) found.push(peerId)
    expect(found).toEqual([])
  } finally {
    await stranger.stop()
    await swarm.stop()
    await rm(folder, { recursive: true, force: true })
  }
})
