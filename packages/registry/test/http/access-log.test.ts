import { rm } from 'node:fs/promises'
import { createLogger } from '@shoal/core'
import { resolveConfig, type Service } from '@shoal/core/service'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { registryService } from '../../src/index.ts'
import { ask, content, pushBlob, temporaryFolder } from '../running-registry.ts'

let dataDir: string
let service: Service | undefined
beforeEach(async () => {
  dataDir = await temporaryFolder()
})
afterEach(async () => {
  await service?.stop()
  await rm(dataDir, { recursive: true })
})

/** Starts a registry; returns its URL and what it logs. */
async function start(accessLog: boolean) {
  const values = { port: 0, metrics: { port: 0 }, dataDir, accessLog }
  const { values: options } = resolveConfig(registryService.schema, [{ source: 'test', values }])
  const lines: [object, string][] = []
  const log = Object.assign(createLogger('registry', 'silent'), {
    info: (fields: object, message: string) => void lines.push([fields, message]),
  })
  service = await registryService.create(options, log)
  await service.start()
  const accesses = () => lines.filter(([, message]) => message === 'request').map(([fields]) => fields)
  return { url: service.addresses().registry ?? '', accesses }
}

it('has a line for each request, without its query', async () => {
  const { url, accesses } = await start(true)
  const digest = await pushBlob(url, 'app', content('blob', 1000))
  await ask(`${url}/v2/app/blobs/${digest}`, { headers: { 'user-agent': 'a client' } })
  await ask(`${url}/v2/app/manifests/none`)
  await expect.poll(() => accesses().length).toBe(4)
  expect(accesses()).toMatchObject([
    { method: 'POST', path: '/v2/app/blobs/uploads/', status: 202 },
    { method: 'PUT', path: expect.stringMatching(/^\/v2\/app\/blobs\/uploads\/[0-9a-f-]{36}$/), status: 201 },
    {
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      method: 'GET',
      path: `/v2/app/blobs/${digest}`,
      status: 200,
      sizeBytes: 1000,
      isCutOff: false,
      durationMs: expect.any(Number),
      address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      userAgent: 'a client',
    },
    { method: 'GET', status: 404 },
  ])
})

it('is off by default', async () => {
  const { url, accesses } = await start(false)
  await ask(`${url}/v2/`)
  expect(accesses()).toEqual([])
})
