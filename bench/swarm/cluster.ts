import { join } from 'node:path'
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
}

/** All the processes under test. */
export interface Cluster {
  readonly registry: Service
  readonly scheduler: Service
  readonly seed: Service
  readonly nodes: readonly Service[]
}

/** Starts the cluster and waits until all are ready; each that is started is also put into `started` at once. */
export async function startCluster(places: Places, folder: string, started: Measured[]): Promise<Cluster> {
  const log = { level: 'warn' }
  const launch = async (
    service: ServiceName,
    place: Place,
    options: object,
    ports: { http: number; admin: number },
  ) => {
    const args = await shoalArgs(folder, service, place.name, { ...options, log })
    const adminUrl = `http://${place.host}:${ports.admin}`
    const process_ = await start(place.name, ...commandAt(place, process.execPath, args), `${adminUrl}/readyz`)
    started.push(process_)
    return { place, process: process_, url: `http://127.0.0.1:${ports.http}`, adminUrl }
  }
  const { registry, scheduler } = places
  const host = '0.0.0.0'
  const [registryPort, registryAdmin] = registry.ports
  const registryOptions = {
    host,
    port: registryPort,
    metrics: { host, port: registryAdmin },
    dataDir: join(folder, 'registry'),
  }
  const [grpcPort, schedulerAdmin] = scheduler.ports
  const schedulerOptions = { grpc: { host, port: grpcPort }, admin: { host, port: schedulerAdmin } }
  const services = await Promise.all([
    launch('registry', registry, registryOptions, { http: registryPort, admin: registryAdmin }),
    launch('scheduler', scheduler, schedulerOptions, { http: grpcPort, admin: schedulerAdmin }),
  ])
  const registryName = `${registry.host}:${registryPort}`
  const launchNode = (service: 'seed' | 'peer', place: Place) => {
    const [port, lane, libp2p, admin] = place.ports
    const options = {
      name: place.name,
      dataDir: join(folder, place.name),
      schedulers: [`${scheduler.host}:${grpcPort}`],
      labels: { zone: `zone-${place.zone}` },
      mirror: { port, defaultRegistry: registryName },
      lane: { port: lane },
      libp2p: { port: libp2p },
      admin: { host, port: admin },
      origins: { [registryName]: { url: `http://${registryName}` } },
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
  const [registryService, schedulerService] = services
  return { registry: registryService, scheduler: schedulerService, seed, nodes }
}
