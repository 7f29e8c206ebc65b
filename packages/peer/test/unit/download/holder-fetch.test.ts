import { OriginError } from '@shoal/origin'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PieceTurns } from '../../../src/download/piece-turns.ts'
import { LaneError } from '../../../src/lane/errors.ts'
import { holdingsOf } from '../swarm/holdings-of.ts'
import { MemoryNetwork } from '../swarm/memory-network.ts'
import { Other, wanted } from './other-node.ts'
import { content, digest, layout, World } from './world.ts'

const all = Array.from({ length: layout.count }, (_, piece) => piece)

let world: World
const metric = async (name: string, labels: Record<string, string>) => {
  const found = await world.registry.getSingleMetric(name)?.get()
  return found?.values.find((value) => Object.entries(labels).every(([key, want]) => value.labels[key] === want))?.value
}

beforeEach(async () => {
  world = await World.openAlone()
})
afterEach(() => world.remove())

describe('a download without a scheduler', () => {
  it('comes from the holders that the DHT names, and not from the origin', async () => {
    world.originBytes = undefined
    const others = [new Other(world, 'a', [0, 1, 2]), new Other(world, 'b', [2, 3, 4, 5])]
    expect((await world.read()).equals(content)).toBe(true)
    expect(world.originRequests).toEqual([])
    expect(others.map(({ sent }) => sent).reduce((sum, sent) => sum + sent)).toBe(layout.count)
    expect(others.every(({ sent }) => sent > 1)).toBe(true)
    expect(world.begun).toEqual([digest])
    expect(await metric('shoal_node_ladder_steps_total', { rung: 'holders' })).toBe(1)
    expect(await metric('shoal_node_origin_fallbacks_total', { reason: 'no_scheduler' })).toBeUndefined()
  })

  it('seeks holders as soon as the scheduler is gone, and takes pieces from them after its grace', async () => {
    world.isConnected = true
    world.originBytes = undefined
    const other = new Other(world, 'a', all)
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    expect(world.finder.asked).toEqual([])
    world.isConnected = false
    world.downloads.disconnected(() => true)
    await vi.waitFor(() => expect(world.finder.asked).toEqual(['a']))
    world.later(999)
    await new Promise((resolve) => setImmediate(resolve))
    expect(other.sent).toBe(0)
    world.later(1)
    expect((await reading).equals(content)).toBe(true)
    expect(other.sent).toBe(layout.count)
  })

  it('asks whom the scheduler named, though the DHT knows nobody', async () => {
    world.isConnected = true
    world.originBytes = undefined
    const other = new Other(world, 'a', all)
    world.network.providers.clear()
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toHaveLength(1))
    world.assign(0, 'a')
    await vi.waitFor(() => expect(world.heard).toContain('done 0 a'))
    world.isConnected = false
    world.downloads.disconnected(() => true)
    world.later()
    expect((await reading).equals(content)).toBe(true)
    expect(other.sent).toBe(layout.count)
    expect(world.originRequests).toEqual([])
  })

  it('goes on with what holders get meanwhile', async () => {
    world.originBytes = undefined
    const growing = new Other(world, 'a', [0])
    const reading = world.read()
    await vi.waitFor(() => expect(growing.sent).toBe(1))
    growing.hold([1, 2])
    world.later(999)
    growing.hold(all)
    world.later()
    expect((await reading).equals(content)).toBe(true)
  })

  it('asks the DHT again, less and less often while it names nobody', async () => {
    const find = vi.spyOn(world.finder, 'find')
    world.network.nearest = ['a']
    const fetching = new Other(world, 'a', [])
    fetching.fetch = () => {
      fetching.isFetching = true
    }
    const reading = world.read()
    await vi.waitFor(() => expect(fetching.wanted).toHaveLength(1))
    const lookups: number[] = []
    for (let seconds = 1; seconds <= 14; seconds++) {
      const asked = world.finder.asked.length
      world.later()
      await vi.waitFor(() => expect(world.finder.asked.length).toBeGreaterThan(asked))
      lookups.push(find.mock.calls.length)
    }
    expect(lookups.at(-1)).toBe(2)
    fetching.hold(all)
    world.later()
    expect((await reading).equals(content)).toBe(true)
  })

  it('leaves a holder that sends wrong bytes for good, and takes its pieces from another', async () => {
    world.originBytes = undefined
    const liar = new Other(world, 'a', all)
    const honest = new Other(world, 'b', all)
    world.parents.set('a', new LaneError('corrupt', 'wrong sha256'))
    expect((await world.read()).equals(content)).toBe(true)
    // What was on its way when it was found out is all.
    expect(liar.sent).toBeLessThanOrEqual(2)
    expect(honest.sent).toBe(layout.count)
    expect(await metric('shoal_node_piece_rejected_total', { reason: 'corrupt' })).toBe(liar.sent)
  })

  it('lets a busy holder rest, and asks it again', async () => {
    world.originBytes = undefined
    const busy = new Other(world, 'a', all)
    world.parents.set('a', new LaneError('busy', 'no slot'))
    const reading = world.read()
    await vi.waitFor(() => expect(busy.sent).toBe(2))
    world.parents.set('a', content)
    await new Promise((resolve) => setImmediate(resolve))
    expect(busy.sent).toBe(2)
    world.later(250)
    expect((await reading).equals(content)).toBe(true)
  })

  it('gives up a holder that does not send, and then goes to the origin', async () => {
    const dead = new Other(world, 'a', all)
    world.parents.set('a', new LaneError('unreachable', 'refused'))
    const reading = world.read()
    // Two at a time, which fail once together.
    for (const sent of [2, 4, 6]) {
      await vi.waitFor(() => expect(dead.sent).toBe(sent))
      world.later(4000)
    }
    expect((await reading).equals(content)).toBe(true)
    expect(dead.sent).toBe(6)
  })

  it('takes a piece that is late from another holder, once the first is found quiet', async () => {
    world.originBytes = undefined
    world.quiet.add('a')
    new Other(world, 'a', [0, 1])
    const reading = world.read()
    await vi.waitFor(() => expect(world.pieceRequests).toHaveLength(2))
    const asked = world.finder.asked.length
    world.later()
    await vi.waitFor(() => expect(world.finder.asked.length).toBeGreaterThan(asked))
    expect(world.hurried).toEqual([])
    const other = new Other(world, 'b', all)
    world.later(3000)
    expect((await reading).equals(content)).toBe(true)
    expect(other.sent).toBe(layout.count)
    expect(world.hurried.toSorted()).toEqual(['0 a', '1 a'])
    expect(await metric('shoal_node_piece_failures_total', { reason: 'stalled' })).toBe(2)
  })

  it('takes the pieces whose turn it is first, as the others are passed on by who takes those', async () => {
    world.originBytes = undefined
    new Other(world, 'a', all)
    const other = new Other(world, 'b', [0])
    other.isDownloading = true
    const { have } = holdingsOf(content.byteLength, other.held)
    const turns = new PieceTurns('self', [{ peerId: 'b', have }])
    expect((await world.read()).equals(content)).toBe(true)
    const order = world.pieceRequests.map((one) => Number.parseInt(one, 10))
    const areOwn = order.map((piece) => turns.isOwn(piece, piece === 0 ? 2 : 1))
    expect(areOwn).toEqual(areOwn.toSorted((one, next) => Number(next) - Number(one)))
    expect(new Set(areOwn).size).toBe(2)
  })

  it('goes to the origin without waiting when there is nobody', async () => {
    expect((await world.read()).equals(content)).toBe(true)
    expect(world.nowMs).toBe(5000)
    // Alone, it is itself the node nearest to the digest.
    expect(await metric('shoal_node_ladder_steps_total', { rung: 'rendezvous' })).toBe(1)
    expect(await metric('shoal_node_ladder_steps_total', { rung: 'origin' })).toBeUndefined()
  })

  const half = Math.floor(layout.count / 2)
  /** Has `other` fetch when it is asked to. */
  const willing = (other: Other) => {
    other.fetch = () => {
      other.isFetching = true
    }
    return other
  }

  it('has the nearest node fetch from the origin, and no other, and takes the pieces from it', async () => {
    world.originBytes = undefined
    const [nearest, next] = [willing(new Other(world, 'a', [])), willing(new Other(world, 'b', []))]
    world.network.nearest = ['a', 'b']
    const reading = world.read()
    await vi.waitFor(() => expect(nearest.wanted).toEqual([wanted]))
    nearest.hold(all.slice(0, half))
    world.later()
    await vi.waitFor(() => expect(nearest.sent).toBe(half))
    nearest.hold(all)
    world.later()
    expect((await reading).equals(content)).toBe(true)
    expect(next.wanted).toEqual([])
    expect(world.originRequests).toEqual([])
  })

  it('has the next one fetch what is missing when the nearest goes away, or can not', async () => {
    world.originBytes = undefined
    const [nearest, next] = [willing(new Other(world, 'a', [])), willing(new Other(world, 'b', []))]
    world.network.nearest = ['a', 'b']
    const reading = world.read()
    await vi.waitFor(() => expect(nearest.wanted).toHaveLength(1))
    nearest.hold([0])
    world.later()
    await vi.waitFor(() => expect(nearest.sent).toBe(1))
    world.network.silent.add('a')
    world.later()
    await vi.waitFor(() => expect(next.wanted[0]).toEqual({ ...wanted, firstPiece: half }))
    next.hold(all)
    world.later()
    expect((await reading).equals(content)).toBe(true)
    expect(world.originRequests).toEqual([])
  })

  it('does not wait for a nearest node that does not answer', async () => {
    world.originBytes = undefined
    const next = willing(new Other(world, 'b', []))
    world.network.nearest = ['a', 'b']
    const ask = world.finder.ask.bind(world.finder)
    const hung = Promise.withResolvers<undefined>()
    world.finder.ask = (node, ...rest) => (node.peerId === 'a' ? hung.promise : ask(node, ...rest))
    const reading = world.read()
    await vi.waitFor(() => expect(next.wanted).toHaveLength(1), { timeout: 5000 })
    hung.resolve(undefined)
    next.hold(all)
    world.later()
    expect((await reading).equals(content)).toBe(true)
  })

  it('fetches from the origin from its own place when it is next and the nearest can not', async () => {
    const other = new Other(world, 'a', [])
    world.network.nearest = ['a', 'self']
    expect((await world.read()).equals(content)).toBe(true)
    expect(other.wanted).toHaveLength(1)
    expect(world.originRequests[0]?.firstPiece).toBe(half)
    expect(await metric('shoal_node_origin_fallbacks_total', { reason: 'no_scheduler' })).toBeUndefined()
  })

  it('goes to the origin on its own when the nearest nodes can not fetch', async () => {
    const other = new Other(world, 'a', [])
    world.network.nearest = ['a', 'gone']
    expect((await world.read()).equals(content)).toBe(true)
    expect(other.wanted).toHaveLength(1)
    expect(await metric('shoal_node_origin_fallbacks_total', { reason: 'no_scheduler' })).toBe(1)
  })

  it('fetches from the origin when one of the nearest, which may not, has chosen it', async () => {
    const other = new Other(world, 'a', [])
    world.network.nearest = ['a']
    other.fetch = () => {
      other.fetcher = 'self'
    }
    expect((await world.read()).equals(content)).toBe(true)
    expect(await metric('shoal_node_ladder_steps_total', { rung: 'origin' })).toBeUndefined()
  })

  it('takes the pieces from the node that was chosen', async () => {
    world.originBytes = undefined
    const near = new Other(world, 'a', [])
    const chosen = new Other(world, 'b', [])
    world.network.nearest = ['a']
    near.fetch = () => {
      near.fetcher = 'b'
      chosen.isFetching = true
      chosen.hold(all.slice(0, 2))
    }
    const reading = world.read()
    await vi.waitFor(() => expect(chosen.sent).toBe(2))
    chosen.hold(all)
    world.later()
    expect((await reading).equals(content)).toBe(true)
    expect(chosen.wanted).toEqual([])
  })

  it('tells why the origin refused when nobody else could', async () => {
    world.originBytes = undefined
    world.originError = new OriginError('UNAUTHORIZED', 'no credentials')
    new Other(world, 'a', [])
    world.network.nearest = ['a']
    await expect(world.read()).rejects.toMatchObject({ code: 'ORIGIN_FAILED', cause: { code: 'UNAUTHORIZED' } })
  })

  it('waits for the scheduler again when it is back, with what it holds', async () => {
    world.originBytes = undefined
    const growing = new Other(world, 'a', [0, 1])
    const reading = world.read()
    await vi.waitFor(() => expect(world.store.find(digest)?.have.held).toBe(2))
    world.isConnected = true
    world.downloads.connected(() => true)
    expect(world.heard.at(-1)).toBe('join 03')
    growing.hold(all)
    await vi.waitFor(async () => expect(await metric('shoal_node_ladder_steps_total', { rung: 'scheduler' })).toBe(1))
    world.later()
    world.parents.set('p1', content)
    for (const piece of all.slice(2)) world.assign(piece)
    expect((await reading).equals(content)).toBe(true)
    expect(growing.sent).toBe(2)
  })

  it('never asks two nodes for one piece at a time', async () => {
    world.originBytes = undefined
    for (const peerId of ['a', 'b', 'c']) new Other(world, peerId, all)
    const fetch = world.fetchPiece.bind(world)
    const flying = new Set<number>()
    world.fetchPiece = async (one, ...signals) => {
      expect(flying.has(one.piece)).toBe(false)
      flying.add(one.piece)
      await new Promise((resolve) => setImmediate(resolve))
      flying.delete(one.piece)
      return fetch(one, ...signals)
    }
    expect((await world.read()).equals(content)).toBe(true)
    expect(world.pieceRequests).toHaveLength(layout.count)
  })

  it('asks nobody once the swarm gave wrong bytes', async () => {
    const wrong = Buffer.from(content)
    wrong[7] = (wrong[7] ?? 0) ^ 1
    const liar = new Other(world, 'a', all)
    world.parents.set('a', wrong)
    await expect(world.read()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
    const sent = liar.sent
    expect((await world.read()).equals(content)).toBe(true)
    expect(liar.sent).toBe(sent)
    expect(await metric('shoal_node_origin_fallbacks_total', { reason: 'distrusted' })).toBe(1)
  })
})

describe('several nodes without a scheduler', () => {
  it.each([
    ['a public', false],
    ['a private', true],
  ])('pull a cold blob of %s origin at once, which gives away one copy', async (_, isPrivate) => {
    const network = new MemoryNetwork()
    const names = ['n0', 'n1', 'n2', 'n3', 'n4', 'idle0', 'idle1']
    // Those that nobody pulls through are nearest: they have no credentials of a client.
    network.nearest = isPrivate ? ['idle0', 'idle1'] : []
    const worlds = await Promise.all(names.map((name) => World.open(undefined, '', network, name)))
    try {
      for (const one of worlds) {
        one.isConnected = false
        one.isPrivate = isPrivate
        one.nowMs = 5000
        for (const name of names) one.parents.set(name, content)
      }
      const authorization = isPrivate ? 'Basic c2VjcmV0' : undefined
      const readings = Promise.all(worlds.slice(0, 5).map((one) => one.read(undefined, authorization)))
      const ticking = setInterval(() => {
        for (const one of worlds) one.nowMs += 1000
      }, 250)
      for (const bytes of await readings.finally(() => clearInterval(ticking))) expect(bytes.equals(content)).toBe(true)
      const requests = worlds.flatMap((one) => one.originRequests)
      const pieces = requests.reduce((sum, { pieceCount }) => sum + pieceCount, 0)
      // A private one refuses the nearest, which has no credentials, and then whom it chose has them.
      const refused = isPrivate ? requests.filter(({ source }) => source.authorization === undefined) : []
      expect(pieces - refused.reduce((sum, { pieceCount }) => sum + pieceCount, 0)).toBe(layout.count)
    } finally {
      await Promise.all(worlds.map((one) => one.remove()))
    }
  })
})
