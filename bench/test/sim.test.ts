import { describe, expect, it } from 'vitest'
import { ORDINARY, TRIALS } from '../sim/bars.ts'
import { readOptions } from '../sim/options.ts'
import { simulate } from '../sim/simulate.ts'

const swarm = { ...ORDINARY, nodes: 200, pieces: 128, seed: 1 }

describe('the production core, simulated', () => {
  it('keeps to the bar with 16 nodes and 64 pieces', () => {
    const trial = TRIALS.find(({ name }) => name.startsWith('flash, 16 nodes'))
    const results = [1, 2, 3, 4, 5].map((seed) => simulate({ ...swarm, nodes: 16, pieces: 64, seed }, 'F').max)
    const median = results.sort((a, b) => a - b)[2] as number
    expect(median).toBeLessThanOrEqual(trial?.bars[0]?.atMost ?? 0)
  })

  it('is near the bound, in order, with one copy from the seed', () => {
    const result = simulate({ ...swarm, pieces: 256 }, 'F')
    expect(result.max).toBeLessThan(1.07)
    expect(result.inOrder).toBeGreaterThan(0.94)
    expect(result.seedCopies).toBeLessThan(1.05)
    expect(result.assignments).toBe(200 * 256)
  })

  it('keeps slow nodes from holding up the others', () => {
    const result = simulate({ ...swarm, pieces: 256, slow: 0.1 }, 'F')
    expect(result.p99).toBeLessThan(1.15)
    expect(result.slowMax).toBeLessThan(4.4)
  })

  it('gets over nodes that die', () => {
    expect(simulate({ ...swarm, pieces: 256, fail: 0.05 }, 'F').max).toBeLessThan(1.1)
  })

  it('gets over transfers that hang', () => {
    const result = simulate({ ...swarm, pieces: 256, hang: 0.002 }, 'F')
    expect(result.max).toBeLessThan(1.2)
    expect(result.assignments).toBeGreaterThan(200 * 256)
  })

  it.each([2, 4])('copies each piece once to each of %i zones', (zones) => {
    const result = simulate({ ...swarm, zones }, 'F')
    expect(result.crossZoneCopies).toBeLessThanOrEqual((zones - 1) * 1.01)
    expect(result.max).toBeLessThan(1.15)
  })

  it('reads one copy from the seed for those who come later', () => {
    expect(simulate({ ...swarm, arrival: 'rolling' }, 'F').seedCopies).toBeLessThan(1.2)
  })

  it('gives more slots where control takes longer than a piece', () => {
    // Three slots at once carry three pieces in each round of 9 piece times, so a third of a link.
    expect(simulate({ ...swarm, nodes: 40, pieces: 256, latency: 3 }, 'F').max).toBeLessThan(2)
  })

  it('runs the same for the same seed', () => {
    const run = () => ({
      ...simulate({ ...swarm, slow: 0.1, fail: 0.05, hang: 0.001, zones: 2 }, 'F'),
      nsPerAssignment: 0,
      selectionNsPerAssignment: 0,
    })
    expect(run()).toEqual(run())
  })
})

describe('the rivals', () => {
  it('are slower, each in its own way', () => {
    const ours = simulate(swarm, 'F')
    for (const policy of ['A', 'B', 'C'] as const) {
      const theirs = simulate(swarm, policy)
      expect(theirs.max).toBeGreaterThan(1.3 * ours.max)
      expect(theirs.seedCopies).toBeGreaterThan(ours.seedCopies)
    }
    expect(simulate(swarm, 'C').seedCopies).toBe(200)
  })

  it('end when nodes die', () => {
    for (const policy of ['A', 'B', 'C'] as const) {
      expect(simulate({ ...swarm, nodes: 50, fail: 0.2 }, policy).max).toBeGreaterThan(1)
    }
  })
})

describe('the command line', () => {
  it('takes what it knows', () => {
    const options = readOptions(['--nodes', '20', '--arrival', 'rolling', '--policy', 'B', '--json'])
    expect(options).toMatchObject({
      policy: 'B',
      isJson: true,
      scenario: { nodes: 20, arrival: 'rolling', pieces: 256 },
    })
    expect(readOptions(['--help'])).toBeUndefined()
  })

  it.each([
    [['--node', '3'], /--node/],
    [['--nodes', 'many'], /--nodes must be a whole number/],
    [['--nodes', ''], /--nodes/],
    [['--slow', '2'], /--slow must be a number from 0 to 0.9/],
    [['--arrival', 'soon'], /--arrival must be one of flash, staggered, rolling/],
    [['stray'], /stray/],
  ])('refuses %j', (args, message) => {
    expect(() => readOptions(args)).toThrow(message)
  })
})
