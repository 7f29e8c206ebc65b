import { lookup } from 'node:dns'
import { isIP } from 'node:net'
import { describe, expect, it } from 'vitest'
import { clientFor, clientOf, collect, makeBlob, NEVER, sendBlob, serve } from './fixtures.ts'

const BLOB = makeBlob(100_000)
const authorization = `Basic ${Buffer.from('me:secret').toString('base64')}`
const call = (host: string) => ({
  registry: host,
  repository: 'a/b',
  digest: BLOB.digest,
  size: BLOB.size,
  authorization,
  signal: NEVER,
})
const half = { start: 50_000, end: BLOB.size - 1 }

describe('redirects', () => {
  it('drops Authorization where host or port change, keeps it where they do not, and keeps Range', async () => {
    const storage = await serve((request, response) => sendBlob(request, response, BLOB.bytes))
    const origin = await serve((request, response) => {
      const location = request.url?.startsWith('/v2/') ? '/moved' : `${storage.url}/object?signature=s3cret`
      response.writeHead(307, { location }).end()
    })
    const { bytes } = await collect(clientOf(origin), { ...call(origin.host), ...half })
    expect(bytes.equals(BLOB.bytes.subarray(half.start))).toBe(true)
    expect(origin.requests.map(({ headers }) => headers.authorization)).toEqual([authorization, authorization])
    expect(storage.requests.map(({ headers }) => headers.authorization)).toEqual([undefined])
    expect(storage.requests[0]?.headers.range).toBe('bytes=50000-99999')
  })

  it('does not send Authorization back to the origin once it was led away', async () => {
    const other = await serve((_request, response) => response.writeHead(302, { location: `${origin.url}/back` }).end())
    const origin = await serve((request, response) => {
      if (request.url === '/back') return sendBlob(request, response, BLOB.bytes)
      response.writeHead(302, { location: `${other.url}/x` }).end()
    })
    await collect(clientOf(origin), { ...call(origin.host), ...half })
    expect(origin.requests.map(({ headers }) => headers.authorization)).toEqual([authorization, undefined])
  })

  it.each([301, 302, 303, 307, 308])('follows %i for HEAD with HEAD', async (status) => {
    const origin = await serve((request, response) => {
      if (request.url === '/there') return sendBlob(request, response, BLOB.bytes)
      response.writeHead(status, { location: '/there' }).end()
    })
    expect(await clientOf(origin).headBlob(call(origin.host))).toEqual({ size: BLOB.size })
    expect(origin.requests.map(({ method }) => method)).toEqual(['HEAD', 'HEAD'])
  })

  it('follows five redirects and not six', async () => {
    const origin = await serve((request, response) => {
      const left = Number(/\/(\d+)(?:\?|$)/.exec(request.url ?? '')?.[1] ?? 0)
      if (left === 0) return sendBlob(request, response, BLOB.bytes)
      response.writeHead(307, { location: `/${left - 1}` }).end()
    })
    const client = (hops: number) =>
      clientFor({ x: { url: origin.url } }).headManifest({ ...call('x'), reference: String(hops) })
    expect(await client(5)).toMatchObject({ status: 200 })
    await expect(client(6)).rejects.toMatchObject({ code: 'PROTOCOL' })
  })

  it.each([
    [{ location: 'ftp://x/' }, 'NOT_ALLOWED'],
    [{ location: 'http://' }, 'PROTOCOL'],
    [{}, 'PROTOCOL'],
  ])('refuses %o', async (headers, code) => {
    const origin = await serve((_request, response) => response.writeHead(307, headers).end())
    await expect(clientOf(origin).headBlob(call(origin.host))).rejects.toMatchObject({ code })
  })

  it('reuses where a blob was found for its other ranges, and asks again when that has expired', async () => {
    let validSignature = 1
    const storage = await serve((request, response) => {
      if (request.url !== `/object?signature=${validSignature}`) response.writeHead(403).end('expired')
      else sendBlob(request, response, BLOB.bytes)
    })
    const origin = await serve((_request, response) =>
      response.writeHead(307, { location: `${storage.url}/object?signature=${validSignature}` }).end(),
    )
    let now = 0
    const client = clientOf(origin, { now: () => now })
    const asked = async () => {
      const { bytes } = await collect(client, { ...call(origin.host), ...half })
      expect(bytes.equals(BLOB.bytes.subarray(half.start))).toBe(true)
      return [origin.requests.length, storage.requests.length]
    }
    expect(await asked()).toEqual([1, 1])
    expect(await asked()).toEqual([1, 2])
    validSignature = 2
    expect(await asked()).toEqual([2, 4])
    now += 60_000
    expect(await asked()).toEqual([3, 5])
    // Another client's credentials are asked for themselves.
    await collect(client, { ...call(origin.host), ...half, authorization: 'Basic eDp5' })
    expect(origin.requests).toHaveLength(4)
  })

  it('names neither credentials nor the query of a presigned URL in what it throws', async () => {
    const storage = await serve((_request, response) => response.writeHead(403).end())
    const origin = await serve((_request, response) =>
      response.writeHead(307, { location: `${storage.url}/object?X-Amz-Signature=topsecret` }).end(),
    )
    const error = await clientOf(origin)
      .headBlob(call(origin.host))
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'DENIED' })
    const text = JSON.stringify(error, Object.getOwnPropertyNames(error)) + (error as Error).message
    expect(text).not.toMatch(/topsecret|secret|bWU6/)
    expect(text).toContain(storage.host)
  })
})

describe('names that lead into the private network', () => {
  it.each(['127.0.0.1', '10.0.0.1', '192.168.7.7', '169.254.169.254', 'fd00::1', '::ffff:10.0.0.1', '64:ff9b::a00:1'])(
    'are refused for an unlisted registry: %s, without a connection',
    async (address) => {
      const client = clientFor({}, { lookup: lookupTo({ 'rebound.example': address }) })
      await expect(client.headBlob(call('rebound.example:1'))).rejects.toMatchObject({
        code: 'NOT_ALLOWED',
        message: expect.stringContaining('in the config'),
      })
      expect(client.waits).toEqual([])
    },
  )

  it('are taken for a listed registry, but not where that redirects to or asks for tokens', async () => {
    const inside = await serve((_request, response) => response.end('{"token":"t"}'))
    const port = inside.host.split(':')[1]
    const origin = await serve((request, response) => {
      if (request.method === 'GET' && request.url?.includes('/blobs/')) return sendBlob(request, response, BLOB.bytes)
      if (request.url?.includes('/tags/list')) {
        response.writeHead(307, { location: `http://inside.example:${port}/secret` }).end()
      } else {
        response.writeHead(401, { 'www-authenticate': `Bearer realm="http://inside.example:${port}/token"` }).end()
      }
    })
    const url = `http://registry.example:${origin.host.split(':')[1]}`
    const lookup = lookupTo({ 'registry.example': '127.0.0.1', 'inside.example': '127.0.0.1' })
    const client = clientFor({ 'registry.example': { url } }, { lookup })
    const { bytes } = await collect(client, { ...call('registry.example'), ...half })
    expect(bytes).toHaveLength(50_000)
    const refused = { code: 'NOT_ALLOWED', message: expect.stringContaining('redirectHosts') }
    await expect(client.listTags(call('registry.example'))).rejects.toMatchObject(refused)
    const anonymous = { ...call('registry.example'), authorization: undefined, reference: 'x' }
    await expect(client.getManifest(anonymous)).rejects.toMatchObject(refused)
    expect(inside.requests).toHaveLength(0)

    const listed = { url, redirectHosts: [`inside.example:${port}`] }
    const trusting = clientFor({ 'registry.example': listed }, { lookup })
    expect((await trusting.listTags(call('registry.example'))).bytes.toString()).toBe('{"token":"t"}')
  })
})

/** A look-up that knows these names alone. */
function lookupTo(addresses: Readonly<Record<string, string>>): typeof lookup {
  return Object.assign(
    (name: string, options: unknown, callback: (...values: unknown[]) => void) => {
      const address = addresses[name]
      if (address === undefined) return callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }))
      const family = isIP(address)
      callback(null, (options as { all?: boolean }).all ? [{ address, family }] : address, family)
    },
    { __promisify__: lookup.__promisify__ },
  ) as typeof lookup
}
