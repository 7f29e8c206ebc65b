import { join } from 'node:path'

/** The address of all doors of `shoal up`. */
export const HOST = '127.0.0.1'

/** The first port of each service, from which the others are counted. */
export interface Ports {
  /** Its metrics have the next one. */
  readonly registryPort: number
  /** Schedulers go up from here in twos. */
  readonly schedulerPort: number
  /** Seeds go down from here in tens. */
  readonly seedPort: number
  /** Peers go up from here in tens. */
  readonly peerPort: number
}

export const DEFAULT_PORTS: Ports = { registryPort: 5000, schedulerPort: 7400, seedPort: 7490, peerPort: 7410 }

/** One process of the network on this machine. */
export interface Member {
  readonly name: string
  /** The command that runs it. */
  readonly service: 'registry' | 'scheduler' | 'seed' | 'peer'
  /** Its config, to be written as YAML. */
  readonly options: Readonly<Record<string, unknown>>
  readonly adminUrl: string
}

/** A node's doors as people and scripts need them. */
export interface NodeDoors {
  readonly mirrorUrl: string
  readonly lane: string
  readonly libp2p: string
  readonly adminUrl: string
}

/** How many processes there are of each kind, besides the registry. */
export interface Counts {
  readonly schedulers: number
  readonly seeds: number
  readonly nodes: number
}

/** The network's processes, in the order in which they start. */
export function layOut(folder: string, counts: Counts & Ports, logLevel: string): Member[] {
  const { registryPort, schedulerPort, seedPort, peerPort } = counts
  const registry = `${HOST}:${registryPort}`
  const url = `http://${registry}`
  const log = { level: logLevel }
  const data = (name: string) => join(folder, name)
  const admin = (port: number) => ({ adminUrl: `http://${HOST}:${port}` })
  const members: Member[] = [
    {
      name: 'registry',
      service: 'registry',
      options: { port: registryPort, metrics: { port: registryPort + 1 }, dataDir: data('registry'), log },
      ...admin(registryPort + 1),
    },
  ]
  const schedulers = Array.from({ length: counts.schedulers }, (_, i) => {
    const port = schedulerPort + 2 * i
    return { name: i === 0 ? 'scheduler' : `scheduler-${i}`, port, grpc: `${HOST}:${port}` }
  })
  for (const { name, port } of schedulers) {
    const options = { grpc: { port }, admin: { port: port + 1 }, log }
    members.push({ name, service: 'scheduler', options, ...admin(port + 1) })
  }
  const node = (service: 'seed' | 'peer', index: number, port: number): Member => ({
    name: `${service}-${index}`,
    service,
    options: {
      name: `${service}-${index}`,
      dataDir: data(`${service}-${index}`),
      schedulers: schedulers.map(({ grpc }) => grpc),
      mirror: { port, defaultRegistry: registry },
      lane: { host: HOST, port: port + 1 },
      libp2p: { host: HOST, port: port + 2 },
      admin: { port: port + 3 },
      origins: { [registry]: { url }, [`localhost:${registryPort}`]: { url } },
      log,
    },
    ...admin(port + 3),
  })
  for (let i = 0; i < counts.seeds; i++) members.push(node('seed', i, seedPort - 10 * i))
  for (let i = 0; i < counts.nodes; i++) members.push(node('peer', i, peerPort + 10 * i))
  return members
}

/** `host:port` of the gRPC of a scheduler of `layOut`. */
export function grpcOf(member: Member): string {
  const { grpc } = member.options as { grpc?: { port: number } }
  return `${HOST}:${grpc?.port}`
}

/** Where a node of `layOut` listens. */
export function doorsOf(member: Member): NodeDoors {
  const { mirror, lane, libp2p } = member.options as Record<string, { port: number }>
  return {
    mirrorUrl: `http://${HOST}:${mirror?.port}`,
    lane: `${HOST}:${lane?.port}`,
    libp2p: `/ip4/${HOST}/tcp/${libp2p?.port}`,
    adminUrl: member.adminUrl,
  }
}
