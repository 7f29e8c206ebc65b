import { rm } from 'node:fs/promises'
import { createLogger } from '@shoal/core'
import { resolveConfig } from '@shoal/core/service'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { registryService } from '../../src/index.ts'
import { EventReceiver } from '../event-receiver.ts'
import {
  ask,
  content,
  metric,
  pushBlob,
  pushImageBlobs,
  pushManifest,
  type RunningRegistry,
  startRegistry,
  temporaryFolder,
} from '../running-registry.ts'

const cleanups: (() => Promise<unknown>)[] = []
let receiver: EventReceiver
beforeEach(async () => {
  receiver = new EventReceiver()
  await receiver.start()
  cleanups.push(() => receiver.stop())
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** A registry that tells `receiver`; quick to try again. */
async function start(endpoint: Record<string, unknown> = {}, dataDir?: string): Promise<RunningRegistry> {
  const hook = { url: receiver.url, timeoutMs: 30_000, backoffMs: 5, ...endpoint }
  const folder = dataDir === undefined ? {} : { dataDir }
  const registry = await startRegistry({ ...folder, notifications: { endpoints: { hook } } })
  cleanups.push(registry.dispose)
  return registry
}

const count = ({ metricsUrl }: RunningRegistry, what: 'dead' | 'dropped_total') =>
  metric(metricsUrl, `shoal_registry_notifications_${what}{endpoint="hook"}`)
const pending = ({ metricsUrl }: RunningRegistry) =>
  metric(metricsUrl, 'registry_notifications_pending_total{endpoint="hook"}')
const events = ({ metricsUrl }: RunningRegistry, type: 'Events' | 'Successes' | 'Failures' | 'Errors') =>
  metric(metricsUrl, `registry_notifications_events_total{type="${type}",endpoint="hook"}`)
const taken = () => receiver.taken.map(({ action, target }) => [action, target.digest])

async function deadOf({
  metricsUrl,
}: RunningRegistry): Promise<{ id: string; reason: string; event: { id: string } }[]> {
  const { bytes } = await ask(`${metricsUrl}/api/v1/notifications/hook/dead`)
  return (JSON.parse(bytes.toString()) as { dead: { id: string; reason: string; event: { id: string } }[] }).dead
}

it('posts each event, in order, with the configured headers', async () => {
  const { url } = await start({ headers: { authorization: 'Bearer s3cret' } })
  const { config, layers } = (await pushImageBlobs(url, 'app', 'one')) as {
    config: { digest: string }
    layers: [{ digest: string }]
  }
  const { digest } = await pushManifest(url, 'app', 'v1', await pushImageBlobs(url, 'app', 'one'))
  await expect.poll(() => receiver.taken.length).toBe(5)
  const blobs = [
    ['push', config.digest],
    ['push', layers[0].digest],
  ]
  expect(taken()).toEqual([...blobs, ...blobs, ['push', digest]])
  for (const { headers } of receiver.received) {
    expect(headers['content-type']).toBe('application/vnd.docker.distribution.events.v2+json')
    expect(headers.authorization).toBe('Bearer s3cret')
  }
})

it('sends nothing that is to be ignored', async () => {
  const { url } = await start({ ignore: { actions: ['pull'], mediaTypes: ['application/octet-stream'] } })
  const { digest } = await pushManifest(url, 'app', 'v1', await pushImageBlobs(url, 'app', 'ignored'))
  await ask(`${url}/v2/app/manifests/v1`)
  await ask(`${url}/v2/app/manifests/${digest}`, { method: 'DELETE' })
  await expect.poll(taken).toEqual([
    ['push', digest],
    ['delete', digest],
  ])
})

it('tries again, in order, when the endpoint fails, hangs, or is away', async () => {
  const registry = await start({ timeoutMs: 500 })
  const push = (seed: string) => pushBlob(registry.url, 'app', content(seed, 100))
  receiver.status = 503
  const digests = [await push('while it fails')]
  await expect.poll(() => events(registry, 'Failures')).toBeGreaterThan(2)
  const refused = 'registry_notifications_status_total{code="503 Service Unavailable",endpoint="hook"}'
  expect(await metric(registry.metricsUrl, refused)).toBeGreaterThan(2)
  receiver.status = 0
  digests.push(await push('while it hangs'))
  const before = receiver.received.length
  await expect.poll(() => receiver.received.length, { timeout: 20_000 }).toBeGreaterThan(before + 1)
  await receiver.stop()
  digests.push(await push('while it is away'))
  receiver.status = 200
  await receiver.start()
  await expect.poll(taken, { timeout: 20_000 }).toEqual(digests.map((digest) => ['push', digest]))
  await expect.poll(() => pending(registry)).toBe(0)
  expect(await events(registry, 'Events')).toBe(3)
  expect(await events(registry, 'Successes')).toBe(3)
  expect(await events(registry, 'Errors')).toBeGreaterThan(0)
})

it('keeps what was not delivered over a restart', async () => {
  await receiver.stop()
  const dataDir = await temporaryFolder()
  const first = await start({}, dataDir)
  const digests = [
    await pushBlob(first.url, 'app', content('before 1', 100)),
    await pushBlob(first.url, 'app', content('before 2', 100)),
  ]
  await first.stop()
  await receiver.start()
  const second = await start({}, dataDir)
  digests.push(await pushBlob(second.url, 'app', content('after', 100)))
  await expect.poll(taken).toEqual(digests.map((digest) => ['push', digest]))
})

it('sets aside what is refused too often, for an operator to retry or drop', async () => {
  const registry = await start({ deadAfterAttempts: 2 })
  receiver.status = 400
  const digest = await pushBlob(registry.url, 'app', content('dead 1', 100))
  await pushBlob(registry.url, 'app', content('dead 2', 100))
  await expect.poll(() => count(registry, 'dead')).toBe(2)
  expect(receiver.received).toHaveLength(4)
  const [first, second] = await deadOf(registry)
  expect(first).toMatchObject({ reason: 'it answered 400', event: { target: { digest } } })

  receiver.status = 200
  const at = `${registry.metricsUrl}/api/v1/notifications/hook/dead`
  expect((await ask(`${at}/${first?.id}/retry`, { method: 'POST' })).status).toBe(202)
  await expect.poll(() => receiver.taken.map(({ id }) => id)).toEqual([first?.event.id])
  expect((await ask(`${at}/${second?.id}`, { method: 'DELETE' })).status).toBe(204)
  expect((await ask(`${at}/${second?.id}`, { method: 'DELETE' })).status).toBe(404)
  expect(await deadOf(registry)).toEqual([])
  const { bytes } = await ask(`${registry.metricsUrl}/api/v1/notifications`)
  expect(JSON.parse(bytes.toString())).toEqual({
    endpoints: [{ name: 'hook', pending: 0, dead: 0, failuresInARow: 0 }],
  })
})

it('keeps no more events than it may, and says how many it lost', async () => {
  receiver.status = 500
  const registry = await start({ maxPending: 2 })
  for (const seed of ['a', 'b', 'c', 'd']) await pushBlob(registry.url, 'app', content(`full ${seed}`, 100))
  expect(await pending(registry)).toBe(2)
  expect(await count(registry, 'dropped_total')).toBe(2)
  receiver.status = 200
  await expect.poll(() => receiver.taken.length).toBe(2)
})

it('waits as long as the endpoint asks for', async () => {
  receiver.status = 429
  receiver.headers = { 'retry-after': '3600' }
  const registry = await start()
  await pushBlob(registry.url, 'app', content('retry after', 100))
  await expect.poll(() => events(registry, 'Failures')).toBe(1)
  receiver.status = 200
  await pushBlob(registry.url, 'app', content('retry after too', 100))
  await registry.stop()
  expect(receiver.received).toHaveLength(1)
})

it('shows no secret of an endpoint in logs, metrics, the admin view or errors', async () => {
  const secret = 's3cr3t'
  receiver.status = 500
  const url = receiver.url.replace('http://', `http://user:${secret}@`)
  const hook = { url: `${url}?token=${secret}`, headers: { 'x-token': secret }, backoffMs: 5, deadAfterAttempts: 2 }
  const dataDir = await temporaryFolder()
  cleanups.push(() => rm(dataDir, { recursive: true }))
  const values = { port: 0, metrics: { port: 0 }, dataDir, notifications: { endpoints: { hook } } }
  const options = resolveConfig(registryService.schema, [{ source: 'test', values }]).values
  const lines: string[] = []
  const log = createLogger('registry', 'debug', { write: (line) => void lines.push(line) })
  const service = await registryService.create(options, log)
  await service.start()
  cleanups.push(() => service.stop())
  const { registry = '', metrics = '' } = service.addresses()
  await pushBlob(registry, 'app', content('secret', 100))
  await expect.poll(() => receiver.received.length).toBe(2)
  await receiver.stop()
  await pushBlob(registry, 'app', content('secret 2', 100))
  await expect.poll(() => lines.filter((line) => line.includes('as dead')).length).toBe(2)
  expect(receiver.received[0]?.headers.authorization).toBe(`Basic ${btoa(`user:${secret}`)}`)
  for (const path of ['/metrics', '/api/v1/notifications', '/api/v1/notifications/hook/dead']) {
    lines.push((await ask(metrics + path)).bytes.toString())
  }
  expect(lines.join('\n')).not.toContain(secret)

  for (const wrong of [{ url: `ftp://user:${secret}@host/` }, { headers: { 'x-token': `a\n${secret}` } }]) {
    const endpoints = { hook: { ...options.notifications.endpoints.hook, ...wrong } }
    const wrongOptions = { ...options, notifications: { endpoints } } as typeof options
    const create = async () => registryService.create(wrongOptions, log)
    await expect(create()).rejects.toThrow('notifications.endpoints.hook')
    await expect(create()).rejects.not.toThrow(secret)
  }
})
