import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Event, EventQueue } from '../../../src/coordinator/event-queue.ts'

const done = (swarm: number, piece: number, parent: number): Event => ({
  $case: 'pieceDone',
  value: { swarm, piece, parent, sha256: Buffer.alloc(parent === 0 ? 32 : 0), durationUs: 10 * piece },
})
const leave: Event = { $case: 'leave', value: { digest: 'd' } }

/** Every swarm's events in order, whatever was put together: what the order between swarms means nothing for. */
function bySwarm(events: readonly (Event | undefined)[]): Record<number, string[]> {
  const said: Record<number, string[]> = {}
  let others = 0
  const say = (swarm: number, text: string) => {
    said[swarm] = [...(said[swarm] ?? []), `${others}: ${text}`]
  }
  for (const event of events) {
    if (event?.$case === 'pieceDone') say(event.value.swarm, `${event.value.piece} of ${event.value.parent}`)
    else if (event?.$case === 'piecesDone') {
      const { swarm, pieces, parents, durationsUs } = event.value
      expect(durationsUs).toEqual(pieces.map((piece) => 10 * piece))
      for (let i = 0; i < pieces.length; i++) say(swarm, `${pieces[i]} of ${parents[i]}`)
    } else others++
  }
  return said
}

describe('the queue of events', () => {
  it('reports the pieces of a swarm together, and loses and moves nothing that matters', () => {
    const event = fc.oneof(
      { weight: 5, arbitrary: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.nat(99), fc.nat(3)).map((v) => done(...v)) },
      { weight: 1, arbitrary: fc.constant(leave) },
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 50 }), fc.boolean(), (events, isPacked) => {
        const queue = new EventQueue()
        for (const event of events) queue.push(event)
        const message = queue.take(isPacked).map(({ event }) => event)
        expect(bySwarm(message)).toEqual(bySwarm(events))
        expect(queue.length).toBe(0)
        if (!isPacked) expect(message).toEqual(events)
      }),
    )
  })

  it('puts what arrived from three parents into one event', () => {
    const queue = new EventQueue()
    for (const piece of [1, 2, 3]) queue.push(done(7, piece, piece))
    expect(queue.take(true)).toEqual([
      {
        event: {
          $case: 'piecesDone',
          value: { swarm: 7, pieces: [1, 2, 3], parents: [1, 2, 3], durationsUs: [10, 20, 30] },
        },
      },
    ])
  })

  it('lets no end of a piece that is told before it come between', () => {
    const queue = new EventQueue()
    const ending: Event = { $case: 'pieceEnding', value: { swarm: 7, piece: 2, parent: 2 } }
    for (const event of [done(7, 1, 1), ending, done(7, 2, 2)]) queue.push(event)
    expect(queue.take(true).map(({ event }) => event)).toEqual([
      { $case: 'piecesDone', value: { swarm: 7, pieces: [1, 2], parents: [1, 2], durationsUs: [10, 20] } },
      ending,
    ])
  })

  it('keeps messages below what gRPC takes', () => {
    const queue = new EventQueue()
    const map: Event = { $case: 'pieceMap', value: { digest: 'd', size: 1, sha256s: Buffer.alloc(700 * 1024) } }
    for (let i = 0; i < 3; i++) queue.push(map)
    expect(queue.take(true)).toHaveLength(1)
    expect(queue.take(true)).toHaveLength(1)
    for (let i = 0; i < 20_000; i++) queue.push(leave)
    const counts: number[] = []
    while (queue.length > 0) counts.push(queue.take(true).length)
    expect(Math.max(...counts)).toBeLessThanOrEqual(10_000)
    expect(counts.reduce((sum, count) => sum + count)).toBe(20_001)
  })
})
