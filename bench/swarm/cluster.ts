import { join } from 'node:path'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { type Measured, type ServiceName, shoalArgs, start } from '../kit/processes.ts'
import { commandAt, type Place, type Places } from './places.ts'

/** Started at once: each takes a second of CPU, and one that waits too long for its turn counts as broken. */
const STARTS_AT_ONCE = 4

/** A service at its place. */
export interface Service {
  readonly place: Place
  readonly process: Measured
  /** Of the registry's or the mirror's HTTP, as a process at the same place reaches it. */
  readonly url: string
  /** As this process reaches it. */
  readonly adminUrl: string
  /** Starts it anew, on the data that it left, once it has ended; resolves when it is ready. */
  restart(): Promise<Service>
}

/** All the processes under test. */
export interface Cluster {
  readonly registry: Service
  readonly schedulers: readonly Service[]
  readonly seed: Service
  readonly nodes: readonly Service[]
}

/** What can be told of a cluster beside its places. */
export interface ClusterOptions {
  /** Whether nodes are told of schedulers of which none runs, and know each other by `libp2p.bootstrap` instead. */
  readonly isWithoutSchedulers?: boolean
  /** More options of every node. */
  readonly nodeOptions?: object
  /** Where nodes ask for what the registry has; the registry itself unless told. */
  readonly originUrl?: string
  /** A command, with arguments, that runs the one it is given: each service is started by it. */
  readonly launcher?: (place: Place) => readonly string[]
}

/** Starts the cluster and waits until all are ready; each that is started is also put into `started` at once. */
export async function startCluster(
  places: Places,
  folder: string,
  started: Measured[],
  { isWithoutSchedulers = false, nodeOptions = {}, originUrl, launcher = () => [] }: ClusterOptions = {},
): Promise<Cluster> {
  const log = { level: 'warn' }
  const launch = async (
    service: ServiceName,
    place: Place,
    options: object,
    ports: { http: number; admin: number },
  ): Promise<Service> => {
    const args = await shoalArgs(folder, service, place.name, { ...options, log })
    const adminUrl = `http://${place.host}:${ports.admin}`
    const begin = async (): Promise<Service> => {
      const [command = '', ...rest] = [...launcher(place), process.execPath, ...args]
      const process_ = await start(place.name, ...commandAt(place, command, rest), `${adminUrl}/readyz`)
      started.push(process_)
      return { place, process: process_, url: `http://127.0.0.1:${ports.http}`, adminUrl, restart: begin }
    }
    return begin()
  }
  const { registry } = places
  const host = '0.0.0.0'
  const [registryPort, registryAdmin] = registry.ports
  const registryOptions = {
    host,
    port: registryPort,
    metrics: { host, port: registryAdmin },
    dataDir: join(folder, 'registry'),
  }
  const launchScheduler = (place: Place) => {
    const [grpcPort, admin] = place.ports
    const options = { grpc: { host, port: grpcPort }, admin: { host, port: admin } }
    return launch('scheduler', place, options, { http: grpcPort, admin })
  }
  const [registryService, schedulers] = await Promise.all([
    launch('registry', registry, registryOptions, { http: registryPort, admin: registryAdmin }),
    Promise.all(isWithoutSchedulers ? [] : places.schedulers.map(launchScheduler)),
  ])
  const registryName = `${registry.host}:${registryPort}`
  const bootstrap = isWithoutSchedulers ? await addressesOf([places.seed, ...places.nodes], folder) : []
  const launchNode = (service: 'seed' | 'peer', place: Place) => {
    const [port, lane, libp2p, admin] = place.ports
    const options = {
      ...nodeOptions,
      name: place.name,
      dataDir: dataFolder(folder, place),
      schedulers: places.schedulers.map((scheduler) => `${scheduler.host}:${scheduler.ports[0]}`),
      labels: { zone: `zone-${place.zone}` },
      mirror: { port, defaultRegistry: registryName },
      lane: { port: lane },
      libp2p: { port: libp2p, bootstrap },
      admin: { host, port: admin },
      origins: { [registryName]: { url: originUrl ?? `http://${registryName}` } },
    }
    return launch(service, place, options, { http: port, admin })
  }
  const waiting: Place[] = [...places.nodes]
  const nodes: Service[] = []
  const seed = await launchNode('seed', places.seed)
  const launchNext = async (): Promise<void> => {
    for (let place = waiting.shift(); place !== undefined; place = waiting.shift()) {
      nodes[places.nodes.indexOf(place)] = await launchNode('peer', place)
    }
  }
  await Promise.all(Array.from({ length: STARTS_AT_ONCE }, launchNext))
  return { registry: registryService, schedulers, seed, nodes }
}

/** Where a node of the cluster in `folder` keeps its data. */
export function dataFolder(folder: string, place: Place): string {
  return join(folder, place.name)
}

/** The libp2p addresses that nodes will have, whose identities are made here. */
function addressesOf(places: readonly Place[], folder: string): Promise<string[]> {
  return Promise.all(
    places.map(async (place) => {
      const { peerId } = await loadOrCreateIdentity(join(dataFolder(folder, place), 'identity.key'))
      return `/ip4/${place.host}/tcp/${place.ports[2]}/p2p/${peerId}`
    }),
  )
}
