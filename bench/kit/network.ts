import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { type Measured, startShoal } from './processes.ts'

/** A service and where it listens. */
export interface Door {
  readonly process: Measured
  readonly url: string
  readonly adminUrl: string
}

const log = { level: 'warn' }

/** A registry of ours. */
export async function startRegistry(folder: string): Promise<Door> {
  const [port, metrics] = [await freePort(), await freePort()]
  const options = { port, metrics: { port: metrics }, dataDir: join(folder, 'registry'), log }
  const process = await startShoal(folder, 'registry', 'registry', options, metrics)
  return { process, url: `http://127.0.0.1:${port}`, adminUrl: `http://127.0.0.1:${metrics}` }
}

/** A scheduler; its `url` is `host:port` of its gRPC. */
export async function startScheduler(folder: string): Promise<Door> {
  const [port, admin] = [await freePort(), await freePort()]
  const options = { grpc: { port }, admin: { port: admin }, log }
  const process = await startShoal(folder, 'scheduler', 'scheduler', options, admin)
  return { process, url: `127.0.0.1:${port}`, adminUrl: `http://127.0.0.1:${admin}` }
}

/**
 * A peer on loopback whose default registry is at `registryUrl`; it keeps `quotaBytes` of blobs, 0: all.
 * `nodeArguments` are Node's own.
 */
export async function startPeer(
  folder: string,
  name: string,
  registryUrl: string,
  scheduler: string,
  quotaBytes = 0,
  nodeArguments: readonly string[] = [],
): Promise<Door> {
  const [port, lane, libp2p, admin] = [await freePort(), await freePort(), await freePort(), await freePort()]
  const host = '127.0.0.1'
  const registry = new URL(registryUrl).host
  const options = {
    name,
    dataDir: join(folder, name),
    schedulers: [scheduler],
    mirror: { port, defaultRegistry: registry },
    lane: { host, port: lane },
    libp2p: { host, port: libp2p },
    admin: { port: admin },
    store: { quotaBytes },
    origins: { [registry]: { url: registryUrl } },
    log,
  }
  const process = await startShoal(folder, 'peer', name, options, admin, nodeArguments)
  return { process, url: `http://${host}:${port}`, adminUrl: `http://${host}:${admin}` }
}
