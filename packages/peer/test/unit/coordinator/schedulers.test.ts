import { createLogger, digestOf } from '@shoal/core'
import { LeaseFailed_Reason } from '@shoal/proto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { CoordinatorListener, PieceAssignment, WholeBlob } from '../../../src/coordinator/events.ts'
import { schedulerOf } from '../../../src/coordinator/rendezvous.ts'
import { Schedulers } from '../../../src/coordinator/schedulers.ts'
import { HELLO, ScriptedScheduler } from './scripted-scheduler.ts'

const SETTLE_MS = 1000
const origin = { registry: 'r', repository: 'a' }
const have = new Uint8Array([1])

/** The engine's side: what it wants and holds, said again when it is asked to. */
class Engine implements CoordinatorListener {
  isWaiting(): boolean {
    return true
  }
  readonly wanted: string[] = []
  readonly held: WholeBlob[] = []
  readonly assignments: PieceAssignment[] = []
  readonly failed: string[] = []
  /** What it was told of the blobs it wants. */
  readonly told: string[] = []

  assigned(assignment: PieceAssignment): void {
    this.assignments.push(assignment)
  }

  leased(): void {}

  swarmFailed(digest: string): void {
    this.failed.push(digest)
  }

  leaseTaken(): void {}
  swarmGetsOn(): void {}

  pieceMapWanted(): void {}

  bootstrap(): void {}

  connected(isConcerned: (digest: string) => boolean): void {
    for (const digest of this.wanted.filter(isConcerned)) {
      this.told.push(`connected ${nameOf(digest)}`)
      schedulers.join(digest, 100, origin, have, 'interactive')
    }
  }

  disconnected(isConcerned: (digest: string) => boolean): void {
    for (const digest of this.wanted.filter(isConcerned)) this.told.push(`disconnected ${nameOf(digest)}`)
  }

  *wholeBlobs(): Iterable<WholeBlob> {
    yield* this.held
  }
}

let a: ScriptedScheduler
let b: ScriptedScheduler
let ofA: string
let ofB: string
let engine: Engine
let schedulers: Schedulers

const nameOf = (digest: string) => (digest === ofA ? 'ofA' : 'ofB')
/** What a scheduler heard of a blob, by kind of event. */
const heardOf = (scheduler: ScriptedScheduler, digest: string) =>
  scheduler.events.filter(({ value }) => 'digest' in value && value.digest === digest).map(({ $case }) => $case)

/** Starts the node's side, and waits until it is connected to those that are there. */
async function start(): Promise<void> {
  schedulers = new Schedulers(
    { addresses: [a.address, b.address], settleMs: SETTLE_MS },
    {
      hello: () => HELLO,
      listener: () => engine,
      log: createLogger('test', 'silent'),
      now: () => performance.now(),
      random: () => 0,
    },
  )
  await schedulers.start()
  await untilConnected(2)
}

/** The engine wants a blob from now on. */
function want(digest: string): void {
  engine.wanted.push(digest)
  schedulers.join(digest, 100, origin, have, 'interactive')
}

/** The node holds a blob from now on. */
function hold(digest: string): void {
  engine.held.push({ digest, size: 100 })
  schedulers.holding(digest, 100)
}

const untilConnected = (count: number) =>
  vi.waitFor(() => expect(schedulers.views().filter(({ isConnected }) => isConnected)).toHaveLength(count), {
    timeout: 5000,
  })

beforeEach(async () => {
  a = new ScriptedScheduler()
  b = new ScriptedScheduler()
  for (const scheduler of [a, b]) {
    scheduler.uptimeMs = 100_000
    scheduler.namesSwarms = true
    await scheduler.start()
  }
  const blobs = Array.from({ length: 100 }, (_, i) => digestOf(`blob ${i}`))
  const ownedBy = (scheduler: ScriptedScheduler) =>
    blobs.find((digest) => schedulerOf(digest, [a.address, b.address]) === scheduler.address) ?? ''
  ofA = ownedBy(a)
  ofB = ownedBy(b)
  engine = new Engine()
})
afterEach(async () => {
  await schedulers.stop()
  a.stop()
  b.stop()
})

describe('two schedulers', () => {
  it('are each told of the blobs that are theirs', async () => {
    await start()
    for (const digest of [ofA, ofB]) {
      schedulers.holding(digest, 100)
      schedulers.join(digest, 100, origin, have, 'interactive')
    }
    await vi.waitFor(() => expect([a, b].map(({ heard }) => heard.length)).toEqual([3, 3]))
    for (const [scheduler, digest] of [
      [a, ofA],
      [b, ofB],
    ] as const) {
      expect(heardOf(scheduler, digest)).toEqual(['holding', 'join'])
    }
    schedulers.withdrawn(ofA)
    await vi.waitFor(() => expect(heardOf(b, ofA)).toEqual(['withdrawn']))
  })

  it('one dies: its blobs are the other’s at once, with all that is held of them; the rest stays', async () => {
    await start()
    want(ofA)
    want(ofB)
    hold(ofA)
    hold(ofB)
    await vi.waitFor(() => expect(heardOf(b, ofB)).toEqual(['join', 'holding']))
    expect(heardOf(b, ofA)).toEqual([])
    a.stop()
    await vi.waitFor(() => expect(heardOf(b, ofA)).toEqual(['join', 'holding']))
    expect(engine.told).toEqual(['disconnected ofA', 'connected ofA'])
    expect(schedulers.isConnected).toBe(true)
    expect(heardOf(b, ofB)).toEqual(['join', 'holding'])
  })

  it('both die, and all waits until one is back', async () => {
    await start()
    want(ofA)
    a.stop()
    b.stop()
    await untilConnected(0)
    expect(schedulers.isConnected).toBe(false)
    expect(engine.told.at(-1)).toBe('disconnected ofA')
    b.heard.length = 0
    await b.start()
    await vi.waitFor(() => expect(b.heard).toEqual(['hello', 'join']), { timeout: 5000 })
  })

  it('a piece that the dead one had assigned counts at the other, whatever its parent’s number there', async () => {
    await start()
    want(ofA)
    a.assign(ofA, 1)
    await vi.waitFor(() => expect(engine.assignments).toHaveLength(1))
    a.stop()
    await vi.waitFor(() => expect(heardOf(b, ofA)).toEqual(['join']))
    b.assign(ofA, 2)
    await vi.waitFor(() => expect(engine.assignments).toHaveLength(2))
    for (const { piece, parent } of engine.assignments) schedulers.pieceDone(ofA, piece, parent, 5)
    await vi.waitFor(() => expect(b.heard.slice(-2)).toEqual(['pieceDone 7 1', 'pieceDone 7 2']))
    expect(b.events.slice(-2)).toMatchObject([{ value: { parent: 0 } }, { value: { parent: 3 } }])
  })

  it('one comes back: it hears what is held first, and gets its blobs when all nodes can have told it', async () => {
    await start()
    want(ofA)
    hold(ofA)
    a.stop()
    await vi.waitFor(() => expect(heardOf(b, ofA)).toContain('join'))
    a.uptimeMs = 0
    a.events.length = 0
    engine.told.length = 0
    await a.start()
    await vi.waitFor(() => expect(heardOf(a, ofA)).toEqual(['holdingPart', 'holding']), { timeout: 5000 })
    // It hears of pieces that the other assigns.
    b.assign(ofA, 2)
    await vi.waitFor(() => expect(engine.assignments).toHaveLength(1))
    const [{ piece, parent }] = engine.assignments as [PieceAssignment]
    schedulers.pieceDone(ofA, piece, parent, 5)
    await vi.waitFor(() => expect([a, b].map(({ heard }) => heard.at(-1))).toEqual(['pieceDone 7 2', 'pieceDone 7 2']))
    expect(engine.told).not.toContain('disconnected ofA')
    // What it says meanwhile of a swarm's end is not its to say.
    a.send({ $case: 'swarmFailed', value: { swarm: 7, reason: LeaseFailed_Reason.UNAVAILABLE } })

    await vi.waitFor(() => expect(heardOf(b, ofA).at(-1)).toBe('leave'), { timeout: 5000 })
    await vi.waitFor(() => expect(heardOf(a, ofA)).toEqual(['holdingPart', 'holding', 'join']))
    expect(engine.told.slice(-2)).toEqual(['disconnected ofA', 'connected ofA'])
    expect(engine.failed).toEqual([])
    a.send({ $case: 'swarmFailed', value: { swarm: 7, reason: LeaseFailed_Reason.UNAVAILABLE } })
    await vi.waitFor(() => expect(engine.failed).toEqual([ofA]))
  })

  it('a stream that broke off and is back takes its blobs back at once', async () => {
    await start()
    want(ofA)
    await vi.waitFor(() => expect(heardOf(a, ofA)).toEqual(['join']))
    a.streams.at(-1)?.end()
    await vi.waitFor(() => expect(heardOf(b, ofA)).toEqual(['join', 'leave']), { timeout: 5000 })
    await vi.waitFor(() => expect(heardOf(a, ofA)).toEqual(['join', 'join']))
    expect(a.heard.filter((event) => event === 'hello')).toHaveLength(2)
  })
})
