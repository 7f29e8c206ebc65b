import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ask, content, pushBlob, type RunningRegistry, startRegistry } from '../running-registry.ts'

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'
const PARENT_ID = 'b7ad6b7169203331'

interface SentSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly attributes: { readonly key: string; readonly value: Record<string, unknown> }[]
}

let collector: Server
let spans: SentSpan[]
let services: unknown[]
let registry: RunningRegistry
beforeEach(async () => {
  spans = []
  services = []
  collector = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const sent = JSON.parse(Buffer.concat(chunks).toString())
    for (const { resource, scopeSpans } of sent.resourceSpans) {
      services.push(attributesOf(resource)['service.name'])
      for (const scope of scopeSpans) spans.push(...scope.spans)
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  }).listen(0, '127.0.0.1')
  await once(collector, 'listening')
})
afterEach(async () => {
  await registry.dispose()
  collector.close()
})

async function start(sampleRatio: number): Promise<void> {
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`
  registry = await startRegistry({ tracing: { endpoint, sampleRatio } })
}

function attributesOf({ attributes }: Pick<SentSpan, 'attributes'>): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}

it("goes on the client's trace, with what the storage did below the request", async () => {
  await start(0)
  const digest = await pushBlob(registry.url, 'app', content('blob', 1000))
  const headers = { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01`, 'user-agent': 'a client' }
  await ask(`${registry.url}/v2/app/blobs/${digest}?secret=1`, { headers })
  // What has not been sent is sent then.
  await registry.stop()
  expect(new Set(services)).toEqual(new Set(['shoal-registry']))
  expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([TRACE_ID]))
  const request = spans.find(({ name }) => name === 'GET blob') as SentSpan
  expect(request.parentSpanId).toBe(PARENT_ID)
  expect(attributesOf(request)).toMatchObject({
    'http.request.method': 'GET',
    'http.response.status_code': 200,
    'url.path': `/v2/app/blobs/${digest}`,
    'user_agent.original': 'a client',
  })
  const below = spans.filter(({ parentSpanId }) => parentSpanId === request.spanId).map(({ name }) => name)
  expect(below.sort()).toEqual(['storage GetContent', 'storage Reader'])
})

it('begins traces of its own, and none for a client that wants none', async () => {
  await start(1)
  await ask(`${registry.url}/v2/app/tags/list`)
  await ask(`${registry.url}/v2/`, { headers: { traceparent: `00-${TRACE_ID}-${PARENT_ID}-00` } })
  await registry.stop()
  expect(spans.filter(({ kind }) => kind === 2).map(({ name, parentSpanId }) => [name, parentSpanId])).toEqual([
    ['GET tags', undefined],
  ])
})

it('costs nobody anything when the collector is away', async () => {
  await start(1)
  collector.close()
  expect((await ask(`${registry.url}/v2/`)).status).toBe(200)
  await registry.stop()
})
