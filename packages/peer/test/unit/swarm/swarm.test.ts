import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, digestOf } from '@shoal/core'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createSwarmMetrics } from '../../../src/swarm/metrics.ts'
import { Swarm } from '../../../src/swarm/swarm.ts'

describe('swarm', () => {
  let folder: string
  const swarms: Swarm[] = []

  const make = async (name: string, port = 0, bootstrap: string[] = []) => {
    const identity = await loadOrCreateIdentity(join(folder, name))
    const metrics = createSwarmMetrics(new Registry(), () => 0)
    const options = { host: '127.0.0.1', port, bootstrap }
    const swarm = new Swarm(options, { identity, metrics, log: createLogger('test', 'silent') })
    swarms.push(swarm)
    return { swarm, identity }
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
    await a.swarm.start()
    const b = await make('b', 0, a.swarm.multiaddrs)
    const c = await make('c', 0, a.swarm.multiaddrs)
    await b.swarm.start()
    await c.swarm.start()
    await vi.waitFor(() => expect(a.swarm.peerCount).toBe(2), { timeout: 10_000 })
    const digest = digestOf('a layer')
    b.swarm.provide(digest)
    await vi.waitFor(
      async () => {
        const found = await c.swarm.findProviders(digest, 5, AbortSignal.timeout(5000))
        expect(found.map((provider) => provider.peerId)).toEqual([b.identity.peerId])
      },
      { timeout: 15_000 },
    )
  })

  it('says which port is in use', async () => {
    const first = await make('d')
    await first.swarm.start()
    const port = Number(/tcp\/(\d+)/.exec(first.swarm.multiaddrs[0] ?? '')?.[1])
    const second = await make('e', port)
    await expect(second.swarm.start()).rejects.toThrow(`libp2p can not listen on 127.0.0.1:${port}: the port is in use`)
  })
})
