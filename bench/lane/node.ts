import { join } from 'node:path'
import { createLogger } from '@shoal/core'
import { createMetricsRegistry, type Identity, loadOrCreateIdentity } from '@shoal/core/service'
import { createOriginMetrics } from '@shoal/origin/service'
import { createLaneMetrics, type HeldBlob, WorkerPool } from '@shoal/peer'
import { THREADS } from './plan.ts'

/** Connections without requests are closed this soon, so that each round's are dealt out to the threads anew. */
const IDLE_CLOSE_MS = 500
const CONNECT_TIMEOUT_MS = 5000
const STALL_TIMEOUT_MS = 5000

/** The worker threads of a node as a node has them, and who it is. */
export async function startWorkers(
  name: string,
  folder: string,
  lookup: (digest: string) => HeldBlob | undefined,
): Promise<{ workers: WorkerPool; identity: Identity }> {
  const identity = await loadOrCreateIdentity(join(folder, `${name}.key`))
  const metrics = createMetricsRegistry()
  const limits = { connectTimeoutMs: 3000, headersTimeoutMs: 3000, progressTimeoutMs: 3000, totalTimeoutMs: 3000 }
  const workers = new WorkerPool(
    {
      threads: THREADS,
      lane: {
        host: '127.0.0.1',
        port: 0,
        uploadSlots: 16,
        idleCloseMs: IDLE_CLOSE_MS,
        stallTimeoutMs: STALL_TIMEOUT_MS,
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
      },
      origins: { origins: {}, allowUnlisted: false, limits: { ...limits, connections: 1 } },
    },
    {
      identity,
      log: createLogger(name, 'warn'),
      metrics: createLaneMetrics(metrics),
      originMetrics: createOriginMetrics(metrics),
      lookup,
    },
  )
  await workers.start()
  return { workers, identity }
}
