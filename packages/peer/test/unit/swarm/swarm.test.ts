import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, digestOf } from '@shoal/core'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { HoldingsSource } from '../../../src/swarm/holders.ts'
import { createSwarmMetrics } from '../../../src/swarm/metrics.ts'
import { Swarm } from '../../../src/swarm/swarm.ts'

const nothing: HoldingsSource = { holdings: async () => undefined, fetchForOthers: async () => {} }

describe('swarm', () => {
  let folder: string
  const swarms: Swarm[] = []

  const make = async (name: string, port = 0, bootstrap: string[] = []) => {
    const identity = await loadOrCreateIdentity(join(folder, name))
    const metrics = createSwarmMetrics(new Registry(), () => 0)
    const options = { host: '127.0.0.1', port, bootstrap }
    const lane = () => ({ host: '', port: 1 })
    const log = createLogger('test', 'silent')
    const swarm = new Swarm(options, { identity, source: nothing, lane, metrics, log })
    swarms.push(swarm)
    return swarm
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'shoal-swarm-'))
  })
  afterAll(async () => {
    await Promise.all(swarms.map((swarm) => swarm.stop()))
    await rm(folder, { recursive: true })
  })

  it('finds over private addresses who provides a blob, through a third node', async () => {
    const a = await make('a')
    await a.start()
    const b = await make('b', 0, a.multiaddrs)
    const c = await make('c', 0, a.multiaddrs)
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
    const port = Number(/tcp\/(\d+)/.exec(addresses[0] ?? '')?.[1])
    await late.stop()
    const early = await make('early', 0, addresses)
    await early.start()
    const again = await make('late', port)
    await again.start()
    await vi.waitFor(() => expect(early.peerCount).toBe(1), { timeout: 25_000 })
  })

  it('says which port is in use', async () => {
    const first = await make('d')
    await first.start()
    const port = Number(/tcp\/(\d+)/.exec(first.multiaddrs[0] ?? '')?.[1])
    const second = await make('e', port)
    await expect(second.start()).rejects.toThrow(`libp2p can not listen on 127.0.0.1:${port}: the port is in use`)
  })
})
