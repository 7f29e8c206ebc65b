import type { lookup } from 'node:dns'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { proxyRules } from '../../src/proxies.ts'
import { makeCertificate, makeFolder, removeFolder } from './docker-registry.ts'
import { clientFor, collect, makeBlob, NEVER, sendBlob } from './fixtures.ts'
import { missingProxy, type RunningProxy, startProxy } from './tinyproxy.ts'

const missing = missingProxy()
if (missing !== undefined) process.stderr.write(`tests with tinyproxy are skipped: ${missing}\n`)

const BLOB = makeBlob(100_000)
const call = { registry: 'x.test', repository: 'a/b', digest: BLOB.digest, size: BLOB.size, signal: NEVER }
const whole = { ...call, start: 0, end: BLOB.size - 1 }
/** This machine, by an address that is not one of those that are never asked for through a proxy. */
const HERE = '0.0.0.0'

describe.skipIf(missing !== undefined)('a proxy', () => {
  let folder: string
  let certificate: { key: string; certificate: string }
  let proxy: RunningProxy

  beforeAll(async () => {
    folder = await makeFolder()
    certificate = await makeCertificate(folder)
    proxy = await startProxy('user:s3cret')
  })
  afterAll(async () => {
    await proxy.stop()
    await removeFolder(folder)
  })

  /** A server on this machine. */
  async function serve(scheme: 'http' | 'https', listener: RequestListener): Promise<string> {
    const tls = { key: certificate.key, cert: certificate.certificate }
    const server = scheme === 'https' ? createTlsServer(tls, listener) : createServer(listener)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    return `${scheme}://${HERE}:${(server.address() as AddressInfo).port}`
  }

  /** What the proxy was asked for by `run`. */
  async function asked(run: () => Promise<unknown>): Promise<string[]> {
    const before = proxy.requests.length
    await run()
    return proxy.requests.slice(before)
  }

  const environment = (more: Record<string, string> = {}) => {
    const url = proxy.url.replace('http://', 'http://user:s3cret@')
    return proxyRules({ HTTPS_PROXY: url, HTTP_PROXY: url, ...more })
  }

  it.each(['http', 'https'] as const)('leads to %s registries, their token servers and storages', async (scheme) => {
    const storage = await serve(scheme, (request, response) => sendBlob(request, response, BLOB.bytes))
    const tokens = await serve(scheme, (_request, response) => response.end('{"token":"t"}'))
    const url = await serve(scheme, (request, response) => {
      if (request.headers.authorization === 'Bearer t') {
        response.writeHead(307, { location: `${storage}/object` }).end()
      } else {
        response.writeHead(401, { 'www-authenticate': `Bearer realm="${tokens}/token"` }).end()
      }
    })
    const client = clientFor({ 'x.test': { url, insecureTls: true } }, { proxies: environment() })
    const requests = await asked(async () => {
      expect((await collect(client, whole)).bytes.equals(BLOB.bytes)).toBe(true)
    })
    const hosts = requests.map((each) => /^(?:CONNECT |GET http:\/\/)([^/]+)/.exec(each)?.[1])
    const hostsOf = [url, tokens, storage].map((each) => new URL(each).host)
    expect(new Set(hosts)).toEqual(new Set(hostsOf))
    expect(requests.every((each) => each.startsWith(scheme === 'https' ? 'CONNECT ' : 'GET '))).toBe(true)
  })

  it('is passed by where NO_PROXY, or the entry of the registry, says so', async () => {
    const url = await serve('http', (request, response) => sendBlob(request, response, BLOB.bytes))
    const proxied = { ...environment(), none: '0.0.0.0/8' }
    const requests = await asked(async () => {
      await collect(clientFor({ 'x.test': { url } }, { proxies: proxied }), whole)
      await collect(clientFor({ 'x.test': { url, proxy: 'direct' } }, { proxies: environment() }), whole)
    })
    expect(requests).toEqual([])
  })

  it('of a registry of its own goes before all', async () => {
    const url = await serve('https', (request, response) => sendBlob(request, response, BLOB.bytes))
    const own = { url, insecureTls: true, proxy: proxy.url, proxyCredentials: 'user:s3cret' }
    const requests = await asked(async () => {
      await collect(clientFor({ 'x.test': own }, { proxies: proxyRules({ NO_PROXY: '*' }) }), whole)
    })
    expect(requests).toEqual([`CONNECT ${new URL(url).host}`])
  })

  it.each(['http', 'https'] as const)('that refuses is named, without its credentials: %s', async (scheme) => {
    const url = await serve(scheme, (request, response) => sendBlob(request, response, BLOB.bytes))
    const own = { url, proxy: proxy.url, proxyCredentials: 'user:wr0ng' }
    const error = await collect(clientFor({ 'x.test': own }), whole).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(Error)
    const text = `${(error as Error).message} ${JSON.stringify(error, Object.getOwnPropertyNames(error))}`
    expect(text).not.toContain('wr0ng')
    if (scheme === 'https') expect((error as Error).message).toMatch(/the proxy 127\.0\.0\.1:\d+ .*credentials/)
  })

  it('that is not there is named', async () => {
    const client = clientFor({ 'x.test': { url: 'https://r.example', proxy: 'http://127.0.0.1:1' } })
    await expect(client.headBlob(call)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('through the proxy 127.0.0.1:1 (ECONNREFUSED)'),
    })
  })

  it('is no way round what may be private', async () => {
    const lead = (address: string | undefined) =>
      ((_name: string, _options: unknown, callback: (...values: unknown[]) => void) =>
        address === undefined
          ? callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), [])
          : callback(null, [{ address, family: 4 }])) as unknown as typeof lookup
    const client = (address: string | undefined) => clientFor({}, { proxies: environment(), lookup: lead(address) })
    const requests = await asked(async () => {
      await expect(client('10.0.0.1').headBlob({ ...call, registry: 'in.test' })).rejects.toMatchObject({
        code: 'NOT_ALLOWED',
      })
    })
    expect(requests).toEqual([])
    // What only the proxy can look up, it has to judge.
    const outside = await asked(async () => {
      await client(undefined)
        .headBlob({ ...call, registry: 'out.invalid' })
        .catch(() => {})
    })
    expect(outside[0]).toBe('CONNECT out.invalid:443')
  })
})
