import { freePort } from '../kit/free-port.ts'

/** Where a process of the swarm runs. */
export interface Place {
  readonly name: string
  /** Counted from 0. */
  readonly zone: number
  /** The network namespace; undefined: that of this process. */
  readonly namespace: string | undefined
  /** The address at which the others reach it. */
  readonly host: string
  /** Free TCP ports; a node's libp2p has the third. */
  readonly ports: readonly [number, number, number, number, number]
}

/** Who takes part, the services among them. */
export interface Places {
  readonly registry: Place
  readonly schedulers: readonly Place[]
  readonly seed: Place
  readonly nodes: readonly Place[]
}

const PORTS = [7410, 7411, 7412, 7413, 7414] as const
/** Third byte of the services' addresses, which are in zone 0. */
const SERVICES = 200

/** A namespace for each, with addresses of the range for benchmarks (RFC 2544): 198.18.ZONE.NUMBER. */
export function namespacedPlaces(nodes: number, zones: number, schedulers = 1): Places {
  const place = (name: string, zone: number, network: number, number: number): Place => ({
    name,
    zone,
    namespace: name,
    host: `198.18.${network}.${number}`,
    ports: PORTS,
  })
  return {
    registry: place('registry', 0, SERVICES, 1),
    schedulers: Array.from({ length: schedulers }, (_, i) => place(`scheduler-${i}`, 0, SERVICES, 2 + i)),
    seed: place('seed', 0, 0, 250),
    nodes: Array.from({ length: nodes }, (_, i) => place(`node-${i}`, i % zones, i % zones, 1 + Math.floor(i / zones))),
  }
}

/** All on loopback, told apart by their ports. */
export async function loopbackPlaces(nodes: number, zones: number): Promise<Places> {
  const free: number[] = []
  while (free.length < (nodes + 3) * PORTS.length) free.push(await freePort())
  const place = (name: string, zone: number): Place => ({
    name,
    zone,
    namespace: undefined,
    host: '127.0.0.1',
    ports: free.splice(0, PORTS.length) as unknown as Place['ports'],
  })
  return {
    registry: place('registry', 0),
    schedulers: [place('scheduler-0', 0)],
    seed: place('seed', 0),
    nodes: Array.from({ length: nodes }, (_, i) => place(`node-${i}`, i % zones)),
  }
}

/** All that take part. */
export function everyPlace({ registry, schedulers, seed, nodes }: Places): Place[] {
  return [registry, ...schedulers, seed, ...nodes]
}

/** The command line that runs a command at a place. */
export function commandAt(place: Place, command: string, args: readonly string[]): [string, string[]] {
  if (place.namespace === undefined) return [command, [...args]]
  return ['ip', ['netns', 'exec', place.namespace, command, ...args]]
}
