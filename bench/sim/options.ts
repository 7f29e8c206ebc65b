import { parseArgs } from 'node:util'
import { numberOf } from '../kit/command-line.ts'
import type { Arrival, Scenario } from './scenario.ts'

const ARRIVALS: readonly Arrival[] = ['flash', 'staggered', 'rolling']
const POLICIES = ['F', 'A', 'B', 'C'] as const

/** F: the production core. A, B, C: the rivals of SCHEDULING.md. */
export type PolicyName = (typeof POLICIES)[number]

export const HELP = `Simulates how a blob spreads over a swarm, with the production scheduling core.

  npm run --silent sim -- [options]

  --nodes N        nodes that want the blob, besides the seed that holds it (1000)
  --pieces M       pieces of the blob (256)
  --arrival WHEN   flash: all at once; staggered: over one T*; rolling: over four T* (flash)
  --slow F         share of the nodes that have a quarter of the rate (0)
  --fail F         share of the nodes that die while they download, noticed after 2 piece times (0)
  --hang F         share of the transfers that take 50 times as long (0)
  --zones Z        zones over which the nodes are spread; the seed is in the first (1)
  --seed-rate R    the seed's rate, relative to a node's (1)
  --latency L      one way, in piece times (0.005)
  --seed S         of the random numbers (1)
  --policy P       F: the production core; A: Dragonfly-like; B: BitTorrent-like; C: whole blobs (F)
  --json           one line of JSON
  --help           this

Times are printed as ratios to T* = M + floor(log2 N) piece times (M where the seed is faster than the nodes).`

export interface SimOptions {
  readonly scenario: Scenario
  readonly policy: PolicyName
  readonly isJson: boolean
}

/** Reads the command line; undefined: help is wanted. Throws Error that says what is wrong with it. */
export function readOptions(args: readonly string[]): SimOptions | undefined {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      nodes: text,
      pieces: text,
      arrival: text,
      slow: text,
      fail: text,
      hang: text,
      zones: text,
      'seed-rate': text,
      latency: text,
      seed: text,
      policy: text,
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  const scenario: Scenario = {
    nodes: numberOf('nodes', values.nodes, 1000, 1, 100_000, true),
    pieces: numberOf('pieces', values.pieces, 256, 1, 4096, true),
    arrival: oneOf('arrival', values.arrival, ARRIVALS, 'flash'),
    slow: numberOf('slow', values.slow, 0, 0, 0.9),
    fail: numberOf('fail', values.fail, 0, 0, 0.9),
    hang: numberOf('hang', values.hang, 0, 0, 0.5),
    zones: numberOf('zones', values.zones, 1, 1, 100, true),
    seedRate: numberOf('seed-rate', values['seed-rate'], 1, 0.1, 100),
    latency: numberOf('latency', values.latency, 0.005, 0, 20),
    seed: numberOf('seed', values.seed, 1, 0, 2 ** 31, true),
  }
  return { scenario, policy: oneOf('policy', values.policy, POLICIES, 'F'), isJson: values.json }
}

function oneOf<T extends string>(name: string, text: string | undefined, known: readonly T[], fallback: T): T {
  if (text === undefined) return fallback
  const value = known.find((one) => one === text)
  if (value === undefined) throw new Error(`--${name} must be one of ${known.join(', ')}, not "${text}"`)
  return value
}
