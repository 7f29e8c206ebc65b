import { join } from 'node:path'

const REGISTRY_PORT = 5000
const SCHEDULER_PORT = 7400
const FIRST_PEER_PORT = 7410
const FIRST_SEED_PORT = 7490
const HOST = '127.0.0.1'
/** Peers go up from 7410 in tens, seeds down from 7490. */
export const MAX_NODES = (FIRST_SEED_PORT - FIRST_PEER_PORT) / 10 + 1

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

/** The registry as image references name it. */
export const REGISTRY_NAME = `${HOST}:${REGISTRY_PORT}`
export const REGISTRY_URL = `http://${REGISTRY_NAME}`

/** How many processes there are of each kind, besides the registry. */
export interface Counts {
  /** At most 5: they go up from 7400 in twos. */
  readonly schedulers: number
  readonly seeds: number
  readonly nodes: number
}

/** The network's processes, in the order in which they start. */
export function layOut(folder: string, counts: Counts, logLevel: string): Member[] {
  const log = { level: logLevel }
  const data = (name: string) => join(folder, name)
  const admin = (port: number) => ({ adminUrl: `http://${HOST}:${port}` })
  const members: Member[] = [
    {
      name: 'registry',
      service: 'registry',
      options: { port: REGISTRY_PORT, metrics: { port: REGISTRY_PORT + 1 }, dataDir: data('registry'), log },
      ...admin(REGISTRY_PORT + 1),
    },
  ]
  const schedulers = Array.from({ length: counts.schedulers }, (_, i) => {
    const port = SCHEDULER_PORT + 2 * i
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
      mirror: { port, defaultRegistry: REGISTRY_NAME },
      lane: { host: HOST, port: port + 1 },
      libp2p: { host: HOST, port: port + 2 },
      admin: { port: port + 3 },
      origins: { [REGISTRY_NAME]: { url: REGISTRY_URL }, [`localhost:${REGISTRY_PORT}`]: { url: REGISTRY_URL } },
      log,
    },
    ...admin(port + 3),
  })
  for (let i = 0; i < counts.seeds; i++) members.push(node('seed', i, FIRST_SEED_PORT - 10 * i))
  for (let i = 0; i < counts.nodes; i++) members.push(node('peer', i, FIRST_PEER_PORT + 10 * i))
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
