import { rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { afterEach, expect, it } from 'vitest'
import { EventReceiver, type Received } from '../event-receiver.ts'
import { ask, pushBlob, pushImageBlobs, pushManifest, startRegistry, temporaryFolder } from '../running-registry.ts'
import { startDistribution } from './distribution.ts'
import { requireTool } from './tool.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function receive(): Promise<EventReceiver> {
  const receiver = new EventReceiver()
  await receiver.start()
  cleanups.push(() => receiver.stop())
  return receiver
}

/** Does the same things to any registry. */
async function use(url: string): Promise<void> {
  const image = await pushImageBlobs(url, 'lib/app', 'events')
  const { digest: config } = image.config as { digest: string }
  await ask(`${url}/v2/other/blobs/uploads/?mount=${config}&from=lib/app`, { method: 'POST' })
  const headers = { 'user-agent': 'a <client> & more', accept: String(image.mediaType) }
  const { digest } = await pushManifest(url, 'lib/app', 'v1', image)
  await ask(`${url}/v2/lib/app/manifests/v1`, { headers })
  await ask(`${url}/v2/lib/app/manifests/${digest}`, { headers })
  await ask(`${url}/v2/lib/app/blobs/${config}`, { headers })
  await ask(`${url}/v2/lib/app/blobs/${config}`, { method: 'DELETE' })
  await pushBlob(url, 'lib/app', Buffer.from('the last'))
}

/** The body with what is another one each time replaced. */
function plain({ body }: Received, url: string): string {
  return body
    .replaceAll(new URL(url).host, 'REGISTRY')
    .replaceAll(`${hostname()}:${new URL(url).port}`, 'SOURCE')
    .replace(/"timestamp": "[^"]+Z"/, '"timestamp": "TIME"')
    .replace(/"addr": "127\.0\.0\.1:[0-9]+"/, '"addr": "CLIENT"')
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
}

it('sends the very bytes that docker-registry sends for the same requests', async (context) => {
  const program = requireTool('docker-registry', context)
  const [told, toldByTheirs] = [await receive(), await receive()]
  const dataDir = await temporaryFolder()
  cleanups.push(() => rm(dataDir, { recursive: true, force: true }))
  const endpoint = `{ name: test, url: "${toldByTheirs.url}", timeout: 30s, threshold: 3, backoff: 1s }`
  const theirs = await startDistribution(program, dataDir, { more: `notifications: { endpoints: [ ${endpoint} ] }\n` })
  cleanups.push(theirs.stop)
  const hook = { url: told.url, timeoutMs: 30_000 }
  const ours = await startRegistry({ notifications: { endpoints: { hook } } })
  cleanups.push(ours.dispose)

  await use(theirs.url)
  await use(ours.url)
  await expect.poll(() => told.taken.length).toBe(9)
  await expect.poll(() => toldByTheirs.taken.length).toBe(9)
  const bodies = told.received.map((each) => plain(each, ours.url))
  // Distribution knows its port only from its configuration, which says 0 here.
  const theirSource = `${hostname()}:0`
  expect(bodies).toEqual(toldByTheirs.received.map((each) => plain(each, theirs.url).replace(theirSource, 'SOURCE')))
})
