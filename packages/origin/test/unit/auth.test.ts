import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import type { OriginError } from '../../src/errors.ts'
import { clientFor, clientOf, collect, makeBlob, NEVER, rangeOf, sendBlob, serve, type TestServer } from './fixtures.ts'

const BLOB = makeBlob(100_000)
const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
const ME = basic('me', 'right')
const call = (host: string) => ({
  registry: host,
  repository: 'a/b',
  digest: BLOB.digest,
  size: BLOB.size,
  signal: NEVER,
})
const whole = { start: 0, end: BLOB.size - 1 }

/** A registry and its token server on one port; tokens are `t1`, `t2`, … and `valid` holds those that are taken. */
async function tokenRegistry(
  options: {
    tokens?: (request: IncomingMessage, response: ServerResponse) => boolean
    challenge?: (server: TestServer) => string | string[]
    blob?: (request: IncomingMessage, response: ServerResponse) => void
  } = {},
) {
  const valid = new Set<string>()
  const tokenRequests: URL[] = []
  const tokenAuthorizations: (string | undefined)[] = []
  let made = 0
  const server = await serve((request, response) => {
    const url = new URL(request.url ?? '/', server.url)
    if (url.pathname === '/token') {
      tokenRequests.push(url)
      tokenAuthorizations.push(request.headers.authorization)
      if (options.tokens?.(request, response)) return
      const token = `t${++made}`
      valid.add(token)
      response.end(JSON.stringify({ token, expires_in: 100 }))
      return
    }
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1]
    if (token === undefined || !valid.has(token)) {
      const challenge =
        options.challenge?.(server) ?? `Bearer realm="${server.url}/token",service="reg",scope="repository:a/b:pull"`
      response.writeHead(401, { 'www-authenticate': challenge }).end('{"errors":[]}')
      return
    }
    if (options.blob !== undefined) options.blob(request, response)
    else sendBlob(request, response, BLOB.bytes)
  })
  return { server, valid, tokenRequests, tokenAuthorizations }
}

describe('tokens', () => {
  it('are asked for anonymously, kept, and dropped before they expire', async () => {
    const { server, tokenRequests, tokenAuthorizations } = await tokenRegistry()
    let now = 0
    const client = clientOf(server, { now: () => now })
    await client.headBlob(call(server.host))
    expect(Object.fromEntries(tokenRequests[0]?.searchParams ?? [])).toEqual({
      service: 'reg',
      scope: 'repository:a/b:pull',
      client_id: 'shoal',
    })
    expect(tokenAuthorizations).toEqual([undefined])
    expect(server.requests).toHaveLength(3)
    now = 89_000
    await client.headBlob(call(server.host))
    expect(server.requests).toHaveLength(4)
    now = 90_000
    await client.headBlob(call(server.host))
    expect(tokenRequests).toHaveLength(2)
  })

  it("are asked for with the client's Basic credentials, else the configured ones, each for itself", async () => {
    const { server, tokenRequests, tokenAuthorizations } = await tokenRegistry()
    const client = clientOf(server, {}, { username: 'node', password: 'pw' })
    await client.headBlob({ ...call(server.host), authorization: ME })
    await client.headBlob(call(server.host))
    await client.headBlob({ ...call(server.host), authorization: ME })
    expect(tokenAuthorizations).toEqual([ME, basic('node', 'pw')])
    expect(tokenRequests.map((url) => url.searchParams.get('account'))).toEqual(['me', 'node'])
  })

  it('are asked for once, however many wait, and one who gives up does not spoil it for the rest', async () => {
    let release: () => void = () => {}
    const { server, tokenRequests } = await tokenRegistry({
      tokens: (_request, response) => {
        release = () => response.end('{"token":"t9"}')
        abort.abort()
        return true
      },
    })
    const abort = new AbortController()
    const client = clientOf(server)
    const first = client.headBlob({ ...call(server.host), signal: abort.signal })
    const failed = expect(first).rejects.toMatchObject({ code: 'ABORTED' })
    const others = Array.from({ length: 5 }, () => client.headBlob(call(server.host)))
    const settled = Promise.allSettled(others)
    await failed
    await expect.poll(() => server.requests.length).toBe(7)
    release()
    // t9 is refused, being none of the server's: all five are UNAUTHORIZED, by the one token they shared.
    for (const result of await settled) expect(result).toMatchObject({ reason: { code: 'UNAUTHORIZED' } })
    expect(tokenRequests).toHaveLength(1)
  })

  it('are renewed when one expires in the middle of a blob', async () => {
    const { server, valid, tokenRequests } = await tokenRegistry({
      blob: (request, response) => {
        if (rangeOf(request) !== undefined) return sendBlob(request, response, BLOB.bytes)
        valid.clear()
        response.writeHead(200, { 'content-length': BLOB.size })
        response.write(BLOB.bytes.subarray(0, 40_000), () => response.destroy())
      },
    })
    const { bytes } = await collect(clientOf(server), { ...call(server.host), ...whole })
    expect(bytes.equals(BLOB.bytes)).toBe(true)
    expect(tokenRequests).toHaveLength(2)
    expect(server.requests.at(-1)?.headers.range).toBe('bytes=40000-99999')
  })

  it('are asked for again when the token server has a bad moment', async () => {
    const { server, tokenRequests } = await tokenRegistry({
      tokens: (_request, response) => {
        if (tokenRequests.length > 1) return false
        response.writeHead(503, { 'retry-after': '3' }).end()
        return true
      },
    })
    const client = clientOf(server)
    await client.headBlob(call(server.host))
    expect(client.waits).toEqual([3000])
  })

  it('make a useless token server a PROTOCOL error', async () => {
    const { server } = await tokenRegistry({ tokens: (_request, response) => Boolean(response.end('<html>')) })
    await expect(clientOf(server).headBlob(call(server.host))).rejects.toMatchObject({ code: 'PROTOCOL' })
  })
})

describe('refused credentials', () => {
  const challenges = ['Bearer realm="http://x/token"', 'Basic realm="a, b"']

  it('relay the challenges verbatim when a forwarded Bearer is refused, without asking for a token', async () => {
    const { server, tokenRequests } = await tokenRegistry({ challenge: () => challenges })
    const error = (await clientOf(server)
      .headBlob({ ...call(server.host), authorization: 'Bearer stale-secret' })
      .catch((reason: unknown) => reason)) as OriginError
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', challenges, data: { status: 401 } })
    expect(error.message).not.toContain('stale-secret')
    expect(tokenRequests).toHaveLength(0)
    expect(server.requests).toHaveLength(1)
  })

  it('send a forwarded Bearer as it is', async () => {
    const { server, valid } = await tokenRegistry()
    valid.add('mine')
    await clientOf(server).headBlob({ ...call(server.host), authorization: 'Bearer mine' })
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer mine'])
  })

  it.each([400, 401, 403])('relay the challenge when the token server answers %i', async (status) => {
    const { server } = await tokenRegistry({
      tokens: (_request, response) => Boolean(response.writeHead(status).end()),
    })
    await expect(clientOf(server).headBlob({ ...call(server.host), authorization: ME })).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      challenges: [expect.stringContaining('Bearer realm=')],
    })
  })

  it.each(['nonsense', 'Bearer a\nb', `Bearer ${'x'.repeat(20_000)}`])(
    'do not send a malformed header',
    async (authorization) => {
      const server = await serve((_request, response) => response.end())
      await expect(clientOf(server).headBlob({ ...call(server.host), authorization })).rejects.toMatchObject({
        code: 'UNAUTHORIZED',
      })
      expect(server.requests).toHaveLength(0)
    },
  )
})

describe('Basic', () => {
  async function basicRegistry(accepted: string) {
    const server = await serve((request, response) => {
      if (request.headers.authorization === accepted) return sendBlob(request, response, BLOB.bytes)
      response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
    })
    return server
  }

  it('is sent when configured and asked for, and at once from then on', async () => {
    const server = await basicRegistry(basic('node', 'pw'))
    const client = clientOf(server, {}, { username: 'node', password: 'pw' })
    await client.headBlob(call(server.host))
    await client.headBlob(call(server.host))
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      basic('node', 'pw'),
      basic('node', 'pw'),
    ])
  })

  it('is not tried twice when it is wrong', async () => {
    const server = await basicRegistry(ME)
    const wrong = clientOf(server, {}, { username: 'node', password: 'wrong' })
    await expect(wrong.headBlob(call(server.host))).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      challenges: ['Basic realm="r"'],
      message: expect.stringContaining('passwordFile'),
    })
    expect(server.requests).toHaveLength(2)
    await expect(wrong.headBlob({ ...call(server.host), authorization: basic('me', 'no') })).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      message: expect.stringContaining('pull secret'),
    })
    expect(server.requests).toHaveLength(3)
  })
})

describe('a realm that is not the origin', () => {
  it('is not sent credentials, and the client is told to ask it itself', async () => {
    const elsewhere = await serve((_request, response) => response.end('{"token":"t"}'))
    // Two names for one address: to the client they are different hosts.
    const realm = `http://localhost:${elsewhere.host.split(':')[1]}/token`
    const challenge = `Bearer realm="${realm}",service="s"`
    const origin = await serve((_request, response) => response.writeHead(401, { 'www-authenticate': challenge }).end())
    const head = clientOf(origin).headBlob({ ...call(origin.host), authorization: ME })
    await expect(head).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      challenges: [challenge],
      message: expect.stringContaining('tokenHosts'),
    })
    expect(elsewhere.requests).toHaveLength(0)

    const anonymous = clientOf(origin).headBlob(call(origin.host))
    await expect(anonymous).rejects.toMatchObject({ code: 'UNAUTHORIZED' })
    expect(elsewhere.requests.map(({ headers }) => headers.authorization)).toEqual([undefined])

    const allowed = clientFor({ x: { url: origin.url, tokenHosts: ['localhost'] } })
    await expect(allowed.headBlob({ ...call('x'), authorization: ME })).rejects.toMatchObject({ code: 'UNAUTHORIZED' })
    expect(elsewhere.requests.at(-1)?.headers.authorization).toBe(ME)
  })

  it('loses the credentials when it redirects', async () => {
    const elsewhere = await serve((_request, response) => response.end('{"token":"t1"}'))
    const { server } = await tokenRegistry({
      tokens: (_request, response) => Boolean(response.writeHead(307, { location: `${elsewhere.url}/t` }).end()),
    })
    await clientOf(server)
      .headBlob({ ...call(server.host), authorization: ME })
      .catch(() => {})
    expect(elsewhere.requests.map(({ headers }) => headers.authorization)).toEqual([undefined])
  })
})
