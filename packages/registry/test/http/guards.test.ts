import { rename, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { ask, content, errorOf, pushBlob, type RunningRegistry, startRegistry } from '../running-registry.ts'

const running: RunningRegistry[] = []
afterEach(async () => {
  for (const each of running.splice(0)) await each.dispose()
})

async function start(values: Record<string, unknown>): Promise<RunningRegistry> {
  const registry = await startRegistry(values)
  running.push(registry)
  return registry
}

describe('the read-only mode', () => {
  const put = (registry: RunningRegistry, body: string) =>
    ask(`${registry.metricsUrl}/api/v1/read-only`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body,
    })

  it('refuses all changes, serves what is there, and is switched while the registry runs', async () => {
    const registry = await start({})
    const digest = await pushBlob(registry.url, 'app', content('blob', 100))
    expect((await put(registry, '{"readOnly": true}')).bytes.toString()).toBe('{"readOnly":true}')
    for (const [method, path] of [
      ['POST', '/v2/app/blobs/uploads/'],
      ['PUT', '/v2/app/manifests/v1'],
      ['DELETE', `/v2/app/blobs/${digest}`],
    ]) {
      const answer = await ask(registry.url + path, { method: method as string })
      expect(errorOf(answer).code).toBe('405 UNSUPPORTED')
      expect(answer.headers.get('allow')).toBe('GET, HEAD')
    }
    expect((await ask(`${registry.url}/v2/app/blobs/${digest}`)).status).toBe(200)
    expect((await put(registry, '{"readOnly": false}')).status).toBe(200)
    expect((await ask(`${registry.url}/v2/app/blobs/${digest}`, { method: 'DELETE' })).status).toBe(202)
  })

  it('can be on from the start', async () => {
    const registry = await start({ readOnly: true })
    expect((await ask(`${registry.metricsUrl}/api/v1/read-only`)).bytes.toString()).toBe('{"readOnly":true}')
    await expect(pushBlob(registry.url, 'app', content('blob', 100))).rejects.toThrow('405')
  })

  it.each(['{}', '{"readOnly": "false"}', '{"readOnly": true, "more": 1}', 'null'])(
    'is not changed by %s',
    async (body) => {
      const registry = await start({})
      expect((await put(registry, body)).status).toBe(400)
      expect((await ask(`${registry.metricsUrl}/api/v1/read-only`)).bytes.toString()).toBe('{"readOnly":false}')
    },
  )
})

describe('the rate limit', () => {
  it('refuses the request that is one too many, reads and writes apart, and says when to come back', async () => {
    const { url } = await start({ rateLimit: { readsPerMinute: 3, writesPerMinute: 1 } })
    for (let i = 0; i < 3; i++) expect((await ask(`${url}/v2/`)).status).toBe(200)
    const refused = await ask(`${url}/v2/`)
    expect(errorOf(refused).code).toBe('429 TOOMANYREQUESTS')
    const seconds = Number(refused.headers.get('retry-after'))
    expect(seconds).toBeGreaterThanOrEqual(1)
    expect(seconds).toBeLessThanOrEqual(60)
    expect(refused.headers.get('docker-distribution-api-version')).toBe('registry/2.0')
    const post = () => ask(`${url}/v2/app/blobs/uploads/`, { method: 'POST' })
    expect((await post()).status).toBe(202)
    expect((await post()).status).toBe(429)
  })

  it('leaves exempt networks alone', async () => {
    const { url } = await start({ rateLimit: { readsPerMinute: 1, exempt: ['10.0.0.1', '127.0.0.0/8'] } })
    for (let i = 0; i < 5; i++) expect((await ask(`${url}/v2/`)).status).toBe(200)
  })

  it.each(['10.0.0.0/33', '10.0.0', '::1/129', 'host', '10.0.0.0/8/8', '10.0.0.0/'])(
    'refuses %s for a network',
    async (text) => {
      await expect(startRegistry({ rateLimit: { exempt: [text] } })).rejects.toThrow(`"${text}" is neither an address`)
    },
  )
})

describe('the health of the storage', () => {
  it('is told to clients and load balancers while it is bad', async () => {
    const registry = await start({ health: { everySeconds: 1, threshold: 2 } })
    const digest = await pushBlob(registry.url, 'app', content('blob', 100))
    const ready = () => ask(`${registry.metricsUrl}/readyz`)
    expect((await ready()).status).toBe(200)
    // A link to itself can neither be there nor be absent.
    const [folder, away] = [join(registry.dataDir, 'docker'), join(registry.dataDir, 'away')]
    await rename(folder, away)
    await symlink(folder, folder)
    await expect.poll(async () => (await ready()).status, { timeout: 15_000 }).toBe(503)
    const refused = await ask(`${registry.url}/v2/`)
    expect(errorOf(refused).code).toBe('503 UNAVAILABLE')
    expect(refused.headers.get('retry-after')).toBe('1')
    await rm(folder)
    await rename(away, folder)
    await expect.poll(async () => (await ready()).status, { timeout: 15_000 }).toBe(200)
    expect((await ask(`${registry.url}/v2/app/blobs/${digest}`)).status).toBe(200)
  })
})
