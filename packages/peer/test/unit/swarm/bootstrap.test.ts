import { createLogger } from '@shoal/core'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Bootstrap } from '../../../src/swarm/bootstrap.ts'
import type { LookUp } from '../../../src/swarm/look-up.ts'
import { createSwarmMetrics } from '../../../src/swarm/metrics.ts'

/** A network in which dials are only written down. */
class Dials {
  peerCount = 0
  readonly dialled: string[] = []
  readonly reached = new Set<string>()
  /** What becomes of a dial; the default: a node answers. */
  answer: (address: string, signal: AbortSignal) => Promise<boolean> = async () => true

  readonly dialler = {
    peerCount: () => this.peerCount,
    reached: async () => this.reached,
    dial: (address: string, signal: AbortSignal) => {
      this.dialled.push(address)
      return this.answer(address, signal)
    },
  }
}

/** Pauses that last until the test ends them. */
class Pauses {
  readonly waitsMs: number[] = []
  #end = () => {}

  readonly pause = (ms: number, signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      this.waitsMs.push(ms)
      this.#end = resolve
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
    })

  /** Resolves when there were `count` pauses and the last has begun. */
  begun(count: number): Promise<void> {
    return vi.waitFor(() => expect(this.waitsMs).toHaveLength(count), { interval: 1 })
  }

  /** Ends the pause that is the `count`th, once it has begun. */
  async end(count: number): Promise<void> {
    await this.begun(count)
    this.#end()
  }
}

const addressesOf = (count: number) => Array.from({ length: count }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
const multiaddrsOf = (count: number) => addressesOf(count).map((address) => `/ip4/${address}/tcp/7412`)
const never = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

describe('Bootstrap', () => {
  let dials: Dials
  let pauses: Pauses
  let bootstrap: Bootstrap
  let metrics: ReturnType<typeof createSwarmMetrics>
  let lookUp: ReturnType<typeof vi.fn<LookUp>>

  const start = async (configured: string[], hosts: string[] = []) => {
    const names = hosts.map((host) => ({ host, port: 7412 }))
    const log = createLogger('test', 'silent')
    const { dialler } = dials
    const dependencies = { dialler, lookUp, pause: pauses.pause, random: () => 0.5, log, metrics }
    bootstrap = new Bootstrap({ configured, names }, dependencies)
    await bootstrap.start()
  }
  const lookups = async (outcome: string) =>
    (await metrics.lookups.get()).values.find(({ labels }) => labels.outcome === outcome)?.value ?? 0
  const dialsOf = async (source: string, outcome: string) =>
    (await metrics.bootstrapDials.get()).values.find(
      ({ labels }) => labels.source === source && labels.outcome === outcome,
    )?.value ?? 0

  beforeEach(() => {
    dials = new Dials()
    pauses = new Pauses()
    metrics = createSwarmMetrics(
      new Registry(),
      () => 0,
      () => 0,
    )
    lookUp = vi.fn<LookUp>(async () => [])
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    await bootstrap.stop()
  })

  it('waits twice as long after each round, up to a minute, while few nodes are connected', async () => {
    dials.answer = async () => {
      throw new Error('nobody there')
    }
    await start(['/x/p2p/a'])
    for (let i = 1; i <= 8; i++) await pauses.end(i)
    await pauses.begun(9)
    expect(pauses.waitsMs).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60].map((seconds) => seconds * 750))
    expect(dials.dialled).toEqual(Array.from({ length: 9 }, () => '/x/p2p/a'))
    expect(await dialsOf('told', 'failed')).toBe(9)
  })

  it('leaves nodes alone while enough are connected, and looks for more soon after one is lost', async () => {
    dials.peerCount = 4
    await start(['/x/p2p/a'], ['peers'])
    for (let i = 1; i <= 3; i++) await pauses.end(i)
    await pauses.begun(4)
    bootstrap.lost()
    expect(dials.dialled).toEqual([])
    expect(lookUp).not.toHaveBeenCalled()
    dials.peerCount = 3
    bootstrap.lost()
    await pauses.end(5)
    await pauses.begun(6)
    expect(pauses.waitsMs.slice(3)).toEqual([6000, 750, 750])
    expect(dials.dialled).toEqual(['/x/p2p/a'])
    expect(lookUp).toHaveBeenCalledOnce()
  })

  it('dials sixteen of a large record set, others in each round', async () => {
    lookUp.mockImplementation(async () => addressesOf(5000))
    await start([], ['peers'])
    await pauses.begun(1)
    expect(new Set(dials.dialled).size).toBe(16)
    expect(multiaddrsOf(5000)).toEqual(expect.arrayContaining(dials.dialled))
    await vi.waitFor(async () => expect(await dialsOf('dns', 'connected')).toBe(16))
    for (const address of dials.dialled) dials.reached.add(address)
    await pauses.end(1)
    await pauses.begun(2)
    expect(new Set(dials.dialled).size).toBe(32)
    expect(await lookups('found')).toBe(2)
  })

  it('shares the sixteen among the names', async () => {
    lookUp.mockImplementation(async (host) => addressesOf(500).map((address) => address.replace('10', host)))
    await start([], ['11', '12', '13'])
    await pauses.begun(1)
    const perName = ['11', '12', '13'].map((host) => dials.dialled.filter((to) => to.startsWith(`/ip4/${host}.`)))
    expect(perName.map(({ length }) => length)).toEqual([6, 6, 6])
  })

  it('does not dial itself nor who is connected', async () => {
    lookUp.mockImplementation(async () => addressesOf(3))
    const [self, connected, other] = multiaddrsOf(3)
    dials.reached.add(self ?? '').add(connected ?? '')
    await start([], ['peers'])
    await pauses.begun(1)
    expect(dials.dialled).toEqual([other])
  })

  it('counts neither success nor failure when it reaches itself', async () => {
    dials.answer = async () => false
    lookUp.mockImplementation(async () => addressesOf(1))
    await start([], ['peers'])
    await pauses.begun(1)
    await bootstrap.stop()
    expect(dials.dialled).toEqual(multiaddrsOf(1))
    expect((await metrics.bootstrapDials.get()).values).toEqual([])
  })

  it('goes on when a name is not known, and dials what the others give', async () => {
    lookUp.mockImplementation(async (host) => {
      if (host === 'unknown') throw new Error('ENOTFOUND')
      return addressesOf(1)
    })
    await start([], ['unknown', 'peers'])
    await pauses.begun(1)
    expect(dials.dialled).toEqual(multiaddrsOf(1))
    expect([await lookups('found'), await lookups('failed')]).toEqual([1, 1])
  })

  it('waits for DNS neither at the start nor beyond the deadline, and has one look-up of a name at a time', async () => {
    const deadline = new AbortController()
    vi.spyOn(AbortSignal, 'timeout').mockImplementation(() => deadline.signal)
    const answer = Promise.withResolvers<string[]>()
    lookUp.mockImplementation(() => answer.promise)
    await start(['/x/p2p/a'], ['peers'])
    await vi.waitFor(() => expect(dials.dialled).toEqual(['/x/p2p/a']), { interval: 1 })
    expect(pauses.waitsMs).toEqual([])
    deadline.abort(new Error('too late'))
    await pauses.begun(1)
    expect(await lookups('failed')).toBe(1)
    vi.restoreAllMocks()
    await pauses.end(1)
    await vi.waitFor(() => expect(dials.dialled).toHaveLength(2), { interval: 1 })
    answer.resolve(addressesOf(1))
    await pauses.begun(2)
    expect(lookUp).toHaveBeenCalledOnce()
    expect(dials.dialled.at(-1)).toBe(multiaddrsOf(1)[0])
  })

  it('does not dial again what is being dialled', async () => {
    dials.answer = (_, signal) => never(signal)
    await start(['/x/p2p/a'])
    await pauses.end(1)
    await pauses.begun(2)
    bootstrap.told(['/x/p2p/a', '/x/p2p/b'])
    expect(dials.dialled).toEqual(['/x/p2p/a', '/x/p2p/b'])
  })

  it('dials at once whom a scheduler names, and whom it hears by multicast only when it needs nodes', async () => {
    dials.peerCount = 4
    await start([])
    bootstrap.told(['/x/p2p/a'])
    bootstrap.heard(['/x/p2p/b'])
    expect(dials.dialled).toEqual(['/x/p2p/a'])
    dials.peerCount = 3
    bootstrap.heard(['/x/p2p/b', '/x/p2p/c'])
    expect(dials.dialled).toEqual(['/x/p2p/a', '/x/p2p/c'])
    await vi.waitFor(async () => expect(await dialsOf('mdns', 'connected')).toBe(1))
    await pauses.end(1)
    await pauses.begun(2)
    expect(dials.dialled.slice(2).sort()).toEqual(['/x/p2p/a', '/x/p2p/b', '/x/p2p/c'])
  })

  it('forgets what was named longest ago, never what is configured', async () => {
    dials.peerCount = 4
    await start(['/x/p2p/mine'])
    bootstrap.heard(Array.from({ length: 300 }, (_, i) => `/x/p2p/${i}`))
    dials.peerCount = 0
    await pauses.end(1)
    await pauses.begun(2)
    const newest = Array.from({ length: 256 }, (_, i) => `/x/p2p/${i + 44}`)
    expect(dials.dialled).toEqual(['/x/p2p/mine', ...newest])
  })

  it('ends dials and look-ups when it is stopped, starts again, and dials nobody in between', async () => {
    dials.answer = (_, signal) => never(signal)
    lookUp.mockImplementation(() => new Promise(() => {}))
    await start(['/x/p2p/a'], ['peers'])
    await vi.waitFor(() => expect(lookUp).toHaveBeenCalled(), { interval: 1 })
    await bootstrap.stop()
    await bootstrap.stop()
    bootstrap.told(['/x/p2p/b'])
    expect(dials.dialled).toEqual(['/x/p2p/a'])
    expect((await metrics.bootstrapDials.get()).values).toEqual([])
    await bootstrap.start()
    await vi.waitFor(() => expect(dials.dialled).toEqual(['/x/p2p/a', '/x/p2p/a', '/x/p2p/b']), { interval: 1 })
  })
})
