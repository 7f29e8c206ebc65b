import { parseArgs } from 'node:util'
import { numberOf } from '../kit/command-line.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
const UNITS: Readonly<Record<string, number>> = { '': 1, kib: 1024, k: 1024, mib: MIB, m: MIB, gib: GIB, g: GIB }
const RATE_UNITS: Readonly<Record<string, number>> = { '': 1e6, kbit: 1e3, mbit: 1e6, gbit: 1e9 }
const ARRIVALS = ['flash', 'staggered', 'rolling'] as const

/** When nodes begin to pull: all at once; spread evenly over one T*; over four T*. */
type Arrival = (typeof ARRIVALS)[number]

const RIVALS = ['direct', 'relay'] as const

/** What the swarm is compared with: clients straight from the registry, or relays that do the least a node could. */
type Rival = (typeof RIVALS)[number]

/** What is to be run. */
export interface SwarmOptions {
  /** Besides the seed. */
  readonly nodes: number
  /** Bytes of each blob that every node pulls; more than one make an image. */
  readonly layers: readonly number[]
  readonly isImage: boolean
  /** Of each node's link, each way, the seed's and the registry's too; bits a second. */
  readonly rateBps: number
  /** Round trip between two nodes of a zone. */
  readonly latencyMs: number
  readonly zones: number
  /** Round trip between two nodes of different zones. */
  readonly zoneLatencyMs: number
  readonly arrival: Arrival
  readonly rival: Rival | undefined
  readonly plot: string | undefined
  readonly rounds: number
  /** Bytes of a blob that all pull before the measurement; 0: none. */
  readonly warmUpBytes: number
  readonly isShaped: boolean
  readonly isJson: boolean
}

export const HELP = `Runs a swarm of real processes on shaped links, and compares how long each node took with the bound T*.

  npm run --silent bench:swarm -- [options]

  --nodes N           nodes that pull, besides the seed (16)
  --blob SIZE         what each pulls: 128MiB, 512KiB, or bytes (128MiB)
  --image S1,S2,...   instead of a blob, an image of layers of these sizes, three at a time as containerd does
  --rate RATE         of every link, each way: 100mbit, 1gbit, or a number of Mbit/s (100mbit)
  --latency MS        round trip between two nodes (0)
  --zones Z           zones over which the nodes are spread; the seed and the services are in the first (1)
  --zone-latency MS   round trip between nodes of different zones (that of --latency)
  --arrival WHEN      flash: all at once; staggered: over one T*; rolling: over four T* (flash)
  --rival WHAT        afterwards, the same clients: direct, straight from the registry behind its one link; relay, from a
                      chain of bare TLS relays, the least that nodes written for Node could do (of one blob only)
  --rounds R          blobs pulled one after the other; medians are printed (1)
  --warm-up SIZE      pulled by all before the measurement, so that connections and compiled code are there (16MiB)
  --plot FILE         writes an HTML page of each node's progress in the last round
  --unshaped          on loopback, without namespaces: what happens anyway where there is no root, ip or tc
  --json              one line of JSON
  --help              this

T* = M + floor(log2 N) piece times, where the seed sends no faster than a node: the least time in which a blob of M
pieces can reach N nodes (Mundinger, Weber, Weiss). Of an image: the bytes of all layers, and the largest piece.`

/** Reads the command line; undefined: help is wanted. Throws Error that says what is wrong with it. */
export function readOptions(args: readonly string[]): SwarmOptions | undefined {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      nodes: text,
      blob: text,
      image: text,
      rate: text,
      latency: text,
      zones: text,
      'zone-latency': text,
      arrival: text,
      rival: text,
      rounds: text,
      'warm-up': text,
      plot: text,
      unshaped: flag,
      json: flag,
      help: flag,
    },
  })
  if (values.help) return undefined
  const { image, blob } = values
  if (image !== undefined && blob !== undefined) throw new Error('give --blob or --image, not both')
  const rival = RIVALS.find((known) => known === values.rival)
  if (values.rival !== rival) throw new Error(`--rival is one of ${RIVALS.join(', ')}, not "${values.rival}"`)
  if (rival === 'relay' && image !== undefined) throw new Error('--rival relay takes one blob, not an image')
  if (rival === 'relay' && values.unshaped) throw new Error('--rival relay wants shaped links')
  const latencyMs = numberOf('latency', values.latency, 0, 0, 2000)
  const nodes = numberOf('nodes', values.nodes, 16, 1, 200, true)
  const arrival = ARRIVALS.find((known) => known === (values.arrival ?? 'flash'))
  if (arrival === undefined) throw new Error(`--arrival is one of ${ARRIVALS.join(', ')}, not "${values.arrival}"`)
  return {
    nodes,
    layers: image === undefined ? [size('blob', blob ?? '128MiB')] : image.split(',').map((one) => size('image', one)),
    isImage: image !== undefined,
    rateBps: rate(values.rate ?? '100mbit'),
    latencyMs,
    zones: numberOf('zones', values.zones, 1, 1, Math.min(nodes, 100), true),
    zoneLatencyMs: numberOf('zone-latency', values['zone-latency'], latencyMs, latencyMs, 2000),
    arrival,
    rival,
    plot: values.plot,
    rounds: numberOf('rounds', values.rounds, 1, 1, 100, true),
    warmUpBytes: values['warm-up'] === '0' ? 0 : size('warm-up', values['warm-up'] ?? '16MiB'),
    isShaped: !values.unshaped,
    isJson: values.json,
  }
}

/** Reads bytes such as 128MiB. Throws Error that names the option. */
export function size(name: string, text: string): number {
  const bytes = quantity(text, UNITS)
  if (bytes === undefined || !Number.isInteger(bytes) || bytes < 1 || bytes > 64 * GIB) {
    throw new Error(`--${name} takes sizes such as 128MiB, at most 64GiB, not "${text}"`)
  }
  return bytes
}

function rate(text: string): number {
  const bps = quantity(text, RATE_UNITS)
  if (bps === undefined || bps < 1e6 || bps > 40e9) throw new Error(`--rate is from 1mbit to 40gbit, not "${text}"`)
  return bps
}

function quantity(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const [, digits, unit] = /^(\d+(?:\.\d+)?) *([a-z]*)$/i.exec(text.trim()) ?? []
  const scale = units[(unit ?? '').toLowerCase()]
  return digits === undefined || scale === undefined ? undefined : Number(digits) * scale
}
