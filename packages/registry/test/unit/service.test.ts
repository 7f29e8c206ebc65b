import { once } from 'node:events'
import { rm, symlink, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createLogger, digestOf } from '@shoal/core'
import { resolveConfig } from '@shoal/core/service'
import { afterEach, describe, expect, it } from 'vitest'
import { registryService } from '../../src/index.ts'
import {
  ask,
  beginUpload,
  content,
  errorOf,
  metric,
  pushBlob,
  startRegistry,
  temporaryFolder,
} from '../running-registry.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})
const start = async (values?: Record<string, unknown>) => {
  const registry = await startRegistry(values)
  cleanups.push(registry.dispose)
  return registry
}

describe('options', () => {
  it('have the documented defaults', () => {
    expect(resolveConfig(registryService.schema, []).values).toEqual({
      host: '127.0.0.1',
      port: 5000,
      trustedProxies: [],
      relativeUrls: true,
      dataDir: './data/registry',
      storage: { driver: 'filesystem', prefix: '', partMiB: 10, memoryMiB: 1024 },
      redirect: { enabled: false, expiresSeconds: 1200 },
      metrics: { host: '127.0.0.1', port: 5001 },
      log: { level: 'info' },
      accessLog: false,
      delete: { enabled: true },
      readOnly: false,
      proxy: {
        upstreams: {},
        names: [],
        keepHours: 168,
        tagSeconds: 0,
        limits: {
          connectTimeoutMs: 3000,
          headersTimeoutMs: 10_000,
          progressTimeoutMs: 10_000,
          totalTimeoutMs: 30_000,
          connections: 32,
        },
      },
      rateLimit: { readsPerMinute: 0, writesPerMinute: 0, exempt: [] },
      health: { everySeconds: 10, timeoutSeconds: 10, threshold: 3 },
      uploads: { expireAfterHours: 168 },
      gc: { everyHours: 24, graceHours: 24, untagged: 'keep' },
      retention: { policies: [] },
      replicas: {},
      quotas: [],
      notifications: { endpoints: {} },
      audit: { enabled: false, folder: './data/registry-audit', maxFileBytes: 134_217_728, keepDays: 90 },
    })
  })

  it.each([{ uploads: { expireAfterHours: 0 } }, { port: 70_000 }, { dataDir: '' }, { deletes: {} }])(
    'refuse %j',
    (values) => {
      expect(() => resolveConfig(registryService.schema, [{ source: 'test', values }])).toThrow('test')
    },
  )
})

describe('service', () => {
  it('starts and stops, once each however often it is told', async () => {
    const { service, url, metricsUrl } = await start()
    expect((await ask(`${metricsUrl}/readyz`)).status).toBe(200)
    await service.start()
    expect(service.addresses().registry).toBe(url)
    await Promise.all([service.stop(), service.stop()])
    await service.stop()
    await expect(ask(`${url}/v2/`)).rejects.toThrow()
    await expect(ask(`${metricsUrl}/readyz`)).rejects.toThrow()
  })

  it('says which port is in use, and leaves nothing running', async () => {
    const { url } = await start()
    const dataDir = await temporaryFolder()
    cleanups.push(() => rm(dataDir, { recursive: true }))
    const values = { port: Number(new URL(url).port), metrics: { port: 0 }, dataDir }
    const options = resolveConfig(registryService.schema, [{ source: 'test', values }]).values
    const second = await registryService.create(options, createLogger('registry', 'silent'))
    await expect(second.start()).rejects.toMatchObject({ code: 'PORT_IN_USE' })
    const { metrics = '' } = second.addresses()
    expect(metrics).toBe('http://127.0.0.1:0')
  })

  it('says when its data folder can not be used', async () => {
    const folder = await temporaryFolder()
    cleanups.push(() => rm(folder, { recursive: true }))
    await writeFile(join(folder, 'file'), '')
    await expect(startRegistry({ dataDir: join(folder, 'file', 'data') })).rejects.toMatchObject({
      code: 'DATA_FOLDER_UNUSABLE',
    })
  })

  it('lets a request in flight finish when it stops, and idle connections go', async () => {
    const { service, url, dataDir } = await start()
    const bytes = content('in flight', 200_000)
    const upload = await beginUpload(url, 'app')
    const agent = new Agent({ keepAlive: true })
    const put = request(`${upload}?digest=${digestOf(bytes)}`, { method: 'PUT', agent })
    const answered = once(put, 'response')
    const idle = connect(Number(new URL(url).port), '127.0.0.1')
    await once(idle, 'connect')
    const idleGone = once(idle, 'close')
    put.write(bytes.subarray(0, 100_000))
    await expect.poll(async () => (await ask(upload)).headers.get('docker-upload-uuid')).not.toBeNull()
    const began = performance.now()
    const stopped = service.stop()
    await idleGone
    put.end(bytes.subarray(100_000))
    const [response] = (await answered) as [{ statusCode: number; resume(): void }]
    expect(response.statusCode).toBe(201)
    response.resume()
    await stopped
    expect(performance.now() - began).toBeLessThan(5000)
    agent.destroy()
    const again = await startRegistry({ dataDir })
    cleanups.push(again.stop)
    expect((await ask(`${again.url}/v2/app/blobs/${digestOf(bytes)}`)).bytes.equals(bytes)).toBe(true)
  })

  it('throws expired uploads away at the start', async () => {
    const first = await start()
    await beginUpload(first.url, 'app')
    await first.stop()
    const second = await startRegistry({ dataDir: first.dataDir, uploads: { expireAfterHours: 1e-9 } })
    cleanups.push(second.stop)
    await expect
      .poll(() => metric(second.metricsUrl, 'shoal_registry_uploads_total{outcome="expired"}'))
      .toBeGreaterThanOrEqual(1)
  })

  it('counts requests by kind of path, and bytes received', async () => {
    const { url, metricsUrl } = await start()
    await pushBlob(url, 'app', Buffer.alloc(1000))
    await ask(`${url}/v2/app/blobs/${digestOf('none')}`)
    const total = (labels: string) => metric(metricsUrl, `registry_http_requests_total{${labels}}`)
    await expect.poll(() => total('handler="blob-upload-chunk",method="put",code="201"')).toBe(1)
    await expect.poll(() => total('handler="blob",method="get",code="404"')).toBe(1)
    expect(await metric(metricsUrl, 'shoal_registry_upload_bytes_received_total')).toBe(1000)
    expect(await metric(metricsUrl, 'shoal_registry_uploads_total{outcome="committed"}')).toBe(1)
    const received = 'registry_http_request_size_bytes_sum{handler="blob-upload-chunk"}'
    expect(await metric(metricsUrl, received)).toBe(1000)
    const answered = 'registry_http_response_size_bytes_sum{handler="blob"}'
    expect(await metric(metricsUrl, answered)).toBeGreaterThan(50)
    const moves = 'registry_storage_action_seconds_count{driver="filesystem",action="Move"}'
    expect(await metric(metricsUrl, moves)).toBe(1)
  })

  it('says that it failed, and not why, when the disk fails it', async () => {
    const { url, dataDir } = await start()
    await pushBlob(url, 'app', Buffer.alloc(10))
    await symlink('_manifests', join(dataDir, 'docker/registry/v2/repositories/app/_manifests'))
    const answer = await ask(`${url}/v2/app/tags/list`)
    expect(errorOf(answer).code).toBe('500 UNKNOWN')
    expect(answer.bytes.toString()).not.toContain(dataDir)
  })
})
