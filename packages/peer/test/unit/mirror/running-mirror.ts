import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLogger } from '@shoal/core'
import { OriginClient } from '@shoal/origin'
import { Registry } from 'prom-client'
import { onTestFinished } from 'vitest'
import type { Downloads } from '../../../src/download/downloads.ts'
import { createMirrorMetrics } from '../../../src/mirror/metrics.ts'
import { Mirror, type MirrorOptions } from '../../../src/mirror/server.ts'
import { Tags } from '../../../src/mirror/tags.ts'
import { Rights } from '../../../src/rights/rights.ts'
import { MemoryTable } from '../store/memory-table.ts'

/** A mirror of one registry, `hub.test`, for what takes no download. */
export async function mirrorOf(listener: RequestListener, options: Partial<MirrorOptions> = {}) {
  const seen: { url: string; authorization: string | undefined }[] = []
  const server = createServer((request, response) => {
    seen.push({ url: request.url ?? '', authorization: request.headers.authorization })
    listener(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const log = createLogger('test', 'silent')
  const limits = {
    connectTimeoutMs: 2000,
    headersTimeoutMs: 5000,
    progressTimeoutMs: 5000,
    totalTimeoutMs: 10_000,
    connections: 8,
  }
  const origins = { 'hub.test': { url }, 'docker.io': { url } }
  const origin = new OriginClient({ origins, allowUnlisted: false, limits }, { log })
  const mirror = new Mirror(
    {
      host: '127.0.0.1',
      port: 0,
      defaultRegistry: 'docker.io',
      challenge: false,
      firstByteTimeoutMs: 5000,
      listed: new Set(['hub.test']),
      ...options,
    },
    {
      origin,
      downloads: {} as Downloads,
      manifests: { get: async () => undefined, put: async () => {} },
      tags: new Tags({ tagTtlMs: 0 }, { records: new Map(), now: Date.now }),
      rights: new Rights({ ttlMs: 0 }, { origin, table: new MemoryTable(), log }),
      metrics: createMirrorMetrics(new Registry()),
      log,
      now: () => performance.now(),
    },
  )
  await mirror.start()
  onTestFinished(async () => {
    await mirror.stop()
    await origin.close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { url: `http://127.0.0.1:${mirror.port}`, seen }
}
