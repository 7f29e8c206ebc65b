import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createServer as createTcpServer } from 'node:net'
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { digestOf } from '@shoal/core'
import { describe, expect, it, onTestFinished } from 'vitest'
import { clientFor, clientOf, collect, makeBlob, NEVER, sendBlob, serve } from './fixtures.ts'

const BLOB = makeBlob(200_000)
const MANIFEST = Buffer.from('{"schemaVersion":2}')
const call = (registry: string) => ({
  registry,
  repository: 'a/b',
  digest: BLOB.digest,
  size: BLOB.size,
  signal: NEVER,
})
const whole = { start: 0, end: BLOB.size - 1 }
const ME = `Basic ${Buffer.from('me:secret').toString('base64')}`

describe('an origin that compresses although identity was asked for', () => {
  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
  ])('is read as its clients read it: %s', async (encoding, compress) => {
    const server = await serve((request, response) => {
      const body = compress(request.url?.includes('/manifests/') ? MANIFEST : BLOB.bytes)
      response.writeHead(200, { 'content-encoding': encoding, 'content-length': body.length }).end(body)
    })
    const client = clientOf(server)
    expect(await client.headBlob(call(server.host))).toEqual({ size: BLOB.size })
    expect((await collect(client, { ...call(server.host), ...whole })).bytes.equals(BLOB.bytes)).toBe(true)
    const part = await collect(client, { ...call(server.host), start: 1000, end: 150_000 })
    expect(part.bytes.equals(BLOB.bytes.subarray(1000, 150_001))).toBe(true)
    const reference = digestOf(MANIFEST)
    expect(await client.headManifest({ ...call(server.host), reference })).toMatchObject({ sizeBytes: MANIFEST.length })
    expect(await client.getManifest({ ...call(server.host), reference })).toMatchObject({ bytes: MANIFEST })
  })

  it('is not believed where the body is damaged, or unpacks to more than it may', async () => {
    const bodies = [Buffer.from('no gzip'), gzipSync(BLOB.bytes).subarray(0, 1000), gzipSync(Buffer.alloc(10_000_000))]
    for (const body of bodies) {
      const server = await serve((_request, response) =>
        response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': body.length }).end(body),
      )
      await expect(collect(clientOf(server), { ...call(server.host), ...whole })).rejects.toThrow()
      const manifest = clientOf(server).getManifest({ ...call(server.host), reference: 'latest' })
      await expect(manifest).rejects.toMatchObject({ code: 'PROTOCOL' })
    }
  })
})

describe('a page to log in, with 200', () => {
  it.each(['text/html; charset=utf-8', 'application/json'])('is neither a manifest nor a list, as %s', async (type) => {
    const page = '<!DOCTYPE html><title>Log in</title>'
    const server = await serve((request, response) => {
      response.writeHead(200, { 'content-type': type, 'content-length': page.length })
      response.end(request.method === 'HEAD' ? undefined : page)
    })
    const client = clientOf(server)
    const told = { code: 'PROTOCOL', message: expect.stringContaining('log in') }
    await expect(client.getManifest({ ...call(server.host), reference: 'latest' })).rejects.toMatchObject(told)
    await expect(client.listTags(call(server.host))).rejects.toMatchObject(told)
    await expect(client.getReferrers(call(server.host))).rejects.toMatchObject(told)
    if (type !== 'application/json') {
      await expect(client.headManifest({ ...call(server.host), reference: 'latest' })).rejects.toMatchObject(told)
    }
  })
})

it.each([400, 404, 405, 501])(
  'an origin without referrers (%i) has none, so that clients look for their tag',
  async (status) => {
    const server = await serve((_request, response) => response.writeHead(status).end())
    await expect(clientOf(server).getReferrers(call(server.host))).rejects.toMatchObject({ code: 'NOT_FOUND' })
  },
)

describe('a 401', () => {
  it('without a challenge is answered as the registry challenges at /v2/', async () => {
    const server = await serve((request, response) => {
      if (request.headers.authorization === ME) return sendBlob(request, response, BLOB.bytes)
      const isBase = request.url === '/v2/'
      response.writeHead(401, isBase ? { 'www-authenticate': 'Basic realm="r"' } : {}).end()
    })
    const client = clientOf(server, {}, { username: 'me', password: 'secret' })
    expect(await client.headBlob(call(server.host))).toEqual({ size: BLOB.size })
    const anonymous = clientOf(server)
    await expect(anonymous.getManifest({ ...call(server.host), reference: 'x' })).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      challenges: ['Basic realm="r"'],
    })
  })

  /** A registry that gives a token to everybody, or to an account of its own, and takes no blob request without. */
  const tokenRegistry = (account?: string) =>
    serve((request, response) => {
      const { url = '', headers } = request
      if (url.startsWith('/token')) {
        response.end(JSON.stringify({ token: headers.authorization === account ? 'good' : 'bad' }))
      } else if (headers.authorization === 'Bearer good') {
        sendBlob(request, response, BLOB.bytes)
      } else {
        const realm = `http://${headers.host}/token`
        response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",scope="repository:there:pull"` }).end()
      }
    })

  it('of a registry that another one redirects to is answered with a token for everybody', async () => {
    const there = await tokenRegistry()
    const origin = await serve((_request, response) =>
      response.writeHead(307, { location: `${there.url}/v2/there` }).end(),
    )
    const client = clientFor({ x: { url: origin.url, username: 'me', password: 'secret' } })
    expect(await client.headBlob(call('x'))).toEqual({ size: BLOB.size })
    const { bytes } = await collect(client, { ...call('x'), authorization: ME, ...whole })
    expect(bytes.equals(BLOB.bytes)).toBe(true)
    const sent = there.requests.map(({ headers }) => headers.authorization)
    expect(sent.every((authorization) => authorization === undefined || authorization === 'Bearer good')).toBe(true)
  })

  it('of one that is listed is answered with its own account', async () => {
    const there = await tokenRegistry(`Basic ${Buffer.from('own:pw').toString('base64')}`)
    const origin = await serve((_request, response) =>
      response.writeHead(307, { location: `${there.url}/v2/there` }).end(),
    )
    const listed = { 'there.test': { url: there.url, username: 'own', password: 'pw' } }
    expect(await clientFor({ x: { url: origin.url }, ...listed }).headBlob(call('x'))).toEqual({ size: BLOB.size })
    await expect(clientFor({ x: { url: origin.url } }).headBlob(call('x'))).rejects.toMatchObject({ code: 'DENIED' })
  })
})

describe('an origin that speaks plain http', () => {
  it('is named as such, with the line to write', async () => {
    const server = createServer((_request, response) => response.end())
    const other = createTcpServer((socket) => socket.on('error', () => {}).end('220 mail.example ESMTP\r\n'))
    for (const each of [server, other]) {
      await new Promise<void>((resolve) => each.listen(0, '127.0.0.1', resolve))
      onTestFinished(() => void each.close())
      const host = `127.0.0.1:${(each.address() as AddressInfo).port}`
      const client = clientFor({ [host]: {} })
      await expect(client.headBlob(call(host))).rejects.toMatchObject({
        code: 'UNAVAILABLE',
        message: expect.stringContaining(
          `plain http, not https: if it is meant, list it under origins (proxy.upstreams in a registry): {"${host}": {url: "http://${host}"}}`,
        ),
      })
      expect(client.waits).toEqual([])
    }
  })
})
