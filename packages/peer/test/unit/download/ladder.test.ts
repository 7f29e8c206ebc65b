import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type LadderView,
  nextStanding,
  type Rung,
  type Standing,
  standingAfterOriginFailed,
} from '../../../src/download/ladder.ts'

const options = { schedulerGraceMs: 1000, patienceMs: 15_000, holdersMs: 1000, rendezvousMs: 1500 }
const start: Standing = { rung: 'scheduler', sinceMs: 0 }

const view = (changes: Partial<LadderView>): LadderView => ({
  nowMs: 0,
  lastProgressMs: changes.nowMs ?? 0,
  disconnectedSinceMs: undefined,
  hasSwarmFailed: false,
  isSwarmDistrusted: false,
  isSearching: false,
  hasHope: false,
  ...changes,
})

/** The rungs on which a download stands through these views. */
function climb(views: readonly Partial<LadderView>[], from = start): Rung[] {
  let standing = from
  return views.map((changes) => {
    standing = nextStanding(standing, view(changes), options)
    return standing.rung
  })
}

const gone = { disconnectedSinceMs: 0 }

describe('the ladder', () => {
  it('stays with a scheduler that is there while pieces come', () => {
    expect(climb([{ nowMs: 0 }, { nowMs: 60_000 }])).toEqual(['scheduler', 'scheduler'])
  })

  it('waits its grace for a lost scheduler, then looks for holders', () => {
    expect(
      climb([
        { nowMs: 999, ...gone },
        { nowMs: 1000, ...gone, isSearching: true },
      ]),
    ).toEqual(['scheduler', 'holders'])
  })

  it('stays with holders while they have something', () => {
    const views = [1000, 5000, 14_000].map((nowMs) => ({ nowMs, ...gone, hasHope: true }))
    expect(climb(views)).toEqual(['holders', 'holders', 'holders'])
  })

  it('does not wait when nobody was found: rendezvous, then the origin', () => {
    const views = [1000, 1010, 1020, 1030].map((nowMs) => ({ nowMs, ...gone }))
    expect(climb(views)).toEqual(['holders', 'rendezvous', 'origin', 'origin'])
  })

  it('does not search for longer than its budgets', () => {
    const views = [1000, 1999, 2000, 3499, 3500].map((nowMs) => ({ nowMs, ...gone, isSearching: true }))
    expect(climb(views)).toEqual(['holders', 'holders', 'rendezvous', 'rendezvous', 'origin'])
  })

  it('waits for hope to come back before it gives a rung up', () => {
    const views = [
      { nowMs: 1000, hasHope: true },
      { nowMs: 1100, hasHope: true },
      { nowMs: 2099 },
      { nowMs: 2100 },
    ].map((one) => ({ ...one, ...gone }))
    expect(climb(views)).toEqual(['holders', 'holders', 'holders', 'rendezvous'])
  })

  it('does not hope for ever: without a piece it goes on', () => {
    const hopes = [1000, 15_999, 16_000, 31_000].map((nowMs) => ({ nowMs, lastProgressMs: 0, ...gone, hasHope: true }))
    expect(climb(hopes)).toEqual(['holders', 'holders', 'rendezvous', 'origin'])
  })

  it('tries holders, then the origin, when a scheduler that is there gives nothing', () => {
    const stuck = { lastProgressMs: 0 }
    expect(
      climb([
        { nowMs: 14_999, ...stuck },
        { nowMs: 15_000, ...stuck },
        { nowMs: 15_010, ...stuck },
        // What comes now came from the origin.
        { nowMs: 15_020 },
      ]),
    ).toEqual(['scheduler', 'holders', 'origin', 'origin'])
  })

  it('climbs back when the scheduler is there again', () => {
    for (const rung of ['holders', 'rendezvous', 'origin'] as const) {
      expect(climb([{ nowMs: 9000 }], { rung, reason: 'no_scheduler', sinceMs: 0 })).toEqual(['scheduler'])
    }
  })

  it('goes to the origin at once when the swarm can not, or is not to be trusted', () => {
    expect(climb([{ hasSwarmFailed: true }])).toEqual(['origin'])
    expect(climb([{ isSwarmDistrusted: true }])).toEqual(['origin'])
    expect(climb([{ hasSwarmFailed: true }, {}])).toEqual(['origin', 'scheduler'])
  })

  it('goes back to holders that have something when the origin fails, else fails', () => {
    const standing: Standing = { rung: 'origin', reason: 'no_scheduler', sinceMs: 0 }
    expect(standingAfterOriginFailed(standing, view({ nowMs: 7, hasHope: true }))).toEqual({
      rung: 'holders',
      reason: 'no_scheduler',
      sinceMs: 7,
      hopeMs: 7,
    })
    expect(standingAfterOriginFailed(standing, view({}))).toBeUndefined()
  })

  it('without a scheduler, reaches the origin in bounded time whatever it hopes', () => {
    const steps = fc.infiniteStream(fc.record({ isSearching: fc.boolean(), hasHope: fc.boolean() }))
    fc.assert(
      fc.property(steps, (random) => {
        let standing = start
        // No piece comes: at most the patience on each of the two rungs between.
        const boundMs = options.schedulerGraceMs + 2 * options.patienceMs + options.holdersMs + options.rendezvousMs
        for (let nowMs = 0; nowMs <= boundMs + 1000; nowMs += 250) {
          const { isSearching, hasHope } = random.next().value
          standing = nextStanding(standing, view({ nowMs, lastProgressMs: 0, ...gone, isSearching, hasHope }), options)
        }
        expect(standing.rung).toBe('origin')
      }),
    )
  })

  it('never goes up but to the scheduler', () => {
    const order = ['scheduler', 'holders', 'rendezvous', 'origin']
    const views = fc.array(
      fc.record({
        disconnectedSinceMs: fc.option(fc.constant(0), { nil: undefined }),
        hasSwarmFailed: fc.boolean(),
        isSearching: fc.boolean(),
        hasHope: fc.boolean(),
      }),
      { maxLength: 60 },
    )
    fc.assert(
      fc.property(views, (changes) => {
        let standing = start
        for (const [i, change] of changes.entries()) {
          const next = nextStanding(standing, view({ nowMs: i * 500, lastProgressMs: 0, ...change }), options)
          if (next.rung !== 'scheduler')
            expect(order.indexOf(next.rung)).toBeGreaterThanOrEqual(order.indexOf(standing.rung))
          standing = next
        }
      }),
    )
  })
})
