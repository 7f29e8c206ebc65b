import { CoreError } from '@shoal/core'
import { afterEach, describe, expect, it } from 'vitest'
import { EventReceiver } from '../event-receiver.ts'
import { ask, content, pushBlob, type RunningRegistry, startRegistry } from '../running-registry.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function start(values: Record<string, unknown>): Promise<RunningRegistry> {
  const registry = await startRegistry(values)
  cleanups.push(registry.dispose)
  return registry
}

const forwarded = (address: string) => ({
  'x-forwarded-for': address,
  'x-forwarded-proto': 'https',
  'x-forwarded-host': 'registry.corp',
})

/** Begins an upload as somebody behind a proxy; its answer's `Location`. */
async function locationBehindProxy({ url }: RunningRegistry, headers: Record<string, string>): Promise<string | null> {
  return (await ask(`${url}/v2/app/blobs/uploads/`, { method: 'POST', headers })).headers.get('location')
}

describe('what a proxy says of a request', () => {
  it('is believed of trusted proxies: each address behind them has a rate limit of its own', async () => {
    const { url } = await start({ trustedProxies: ['127.0.0.0/8'], rateLimit: { readsPerMinute: 1 } })
    const statusFor = async (address: string) => (await ask(`${url}/v2/`, { headers: forwarded(address) })).status
    expect(await statusFor('192.0.2.1')).toBe(200)
    expect(await statusFor('192.0.2.2')).toBe(200)
    expect(await statusFor('192.0.2.1')).toBe(429)
    // The proxy has put the last one there; those before it anybody can have written.
    expect(await statusFor('198.51.100.7, 192.0.2.2')).toBe(429)
    expect(await statusFor('2001:db8::1')).toBe(200)
  })

  it('is not believed of anybody else', async () => {
    const { url } = await start({ trustedProxies: ['192.0.2.0/24'], rateLimit: { readsPerMinute: 1 } })
    expect((await ask(`${url}/v2/`, { headers: forwarded('192.0.2.1') })).status).toBe(200)
    expect((await ask(`${url}/v2/`, { headers: forwarded('192.0.2.2') })).status).toBe(429)
  })

  it('counts for the proxy itself when it is no address', async () => {
    const { url } = await start({ trustedProxies: ['127.0.0.1'], rateLimit: { readsPerMinute: 1 } })
    expect((await ask(`${url}/v2/`, { headers: forwarded('unknown') })).status).toBe(200)
    expect((await ask(`${url}/v2/`)).status).toBe(429)
  })

  it.each([
    { trusted: true, address: '192.0.2.1', base: 'https://registry.corp' },
    { trusted: false, address: expect.stringMatching(/^127\.0\.0\.1:\d+$/), base: undefined },
  ])('is told to those who get events when it is trusted: $trusted', async ({ trusted, address, base }) => {
    const receiver = new EventReceiver()
    await receiver.start()
    cleanups.push(() => receiver.stop())
    const { url } = await start({
      trustedProxies: trusted ? ['127.0.0.1'] : [],
      notifications: { endpoints: { hook: { url: receiver.url, timeoutMs: 30_000 } } },
    })
    const digest = await pushBlob(url, 'app', content('forwarded', 100))
    await ask(`${url}/v2/app/blobs/${digest}`, { headers: forwarded('192.0.2.1') })
    await expect.poll(() => receiver.taken.length).toBe(2)
    expect(receiver.taken[0]?.target.url).toBe(`${url}/v2/app/blobs/${digest}`)
    expect(receiver.taken[1]).toMatchObject({
      action: 'pull',
      target: { url: `${base ?? url}/v2/app/blobs/${digest}` },
      request: { addr: address },
    })
  })

  it('must come from what is an address or a network', async () => {
    const error = await start({ trustedProxies: ['proxy.corp'] }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(CoreError)
    expect((error as CoreError).message).toBe(
      'trustedProxies: "proxy.corp" is neither an address nor a network like 10.0.0.0/8',
    )
  })
})

describe('Location', () => {
  it('is a path', async () => {
    const registry = await start({ trustedProxies: ['127.0.0.1'] })
    expect(await locationBehindProxy(registry, forwarded('192.0.2.1'))).toMatch(/^\/v2\/app\/blobs\/uploads\//)
  })

  it('names the host on request: as the client or a trusted proxy does, and none that is no host', async () => {
    const registry = await start({ trustedProxies: ['127.0.0.1'], relativeUrls: false })
    expect(await locationBehindProxy(registry, {})).toMatch(new RegExp(`^${registry.url}/v2/app/blobs/uploads/`))
    expect(await locationBehindProxy(registry, forwarded('192.0.2.1'))).toMatch(
      /^https:\/\/registry\.corp\/v2\/app\/blobs\/uploads\//,
    )
    const strange = {
      ...forwarded('192.0.2.1'),
      'x-forwarded-host': 'registry.corp/evil?',
      'x-forwarded-proto': 'gopher',
    }
    expect(await locationBehindProxy(registry, strange)).toMatch(/^\/v2\/app\/blobs\/uploads\//)
  })
})
