import type { IncomingMessage, ServerResponse } from 'node:http'
import { digestOf } from '@shoal/core'
import { describe, expect, it } from 'vitest'
import { clientOf, makeBlob, NEVER, sendBlob, serve } from './fixtures.ts'

const BLOB = makeBlob(10_000)
const EMPTY = digestOf('')
const MANIFEST = Buffer.from('{"schemaVersion":2}')
const DIGEST = digestOf(MANIFEST)
const TYPE = 'application/vnd.oci.image.manifest.v1+json'
const blob = (host: string, digest = BLOB.digest) => ({ registry: host, repository: 'a/b', digest, signal: NEVER })
const manifest = (host: string, reference = 'latest') => ({
  registry: host,
  repository: 'a/b',
  reference,
  signal: NEVER,
})

type Answer = (request: IncomingMessage, response: ServerResponse) => unknown

/** A registry that answers HEAD in its own way, and GET as it should. */
function odd(head: Answer, get: Answer = sendContent) {
  return serve((request, response) => void (request.method === 'HEAD' ? head : get)(request, response))
}

function sendContent(request: IncomingMessage, response: ServerResponse): void {
  if (request.url?.includes('/blobs/')) sendBlob(request, response, BLOB.bytes)
  else response.writeHead(200, { 'content-type': TYPE, 'content-length': MANIFEST.length }).end(MANIFEST)
}

const HEADS: readonly [string, Answer][] = [
  ...[400, 403, 404, 405, 500, 501, 502, 504].map((status): [string, Answer] => [
    String(status),
    (_request, response) => response.writeHead(status).end(),
  ]),
  ['401 without a challenge', (_request, response) => response.writeHead(401).end()],
  ['a length of 0', (_request, response) => response.writeHead(200, { 'content-length': 0 }).end()],
  [
    'another digest',
    (_request, response) =>
      response.writeHead(200, { 'content-length': 7, 'docker-content-digest': digestOf('another') }).end(),
  ],
  [
    "an encoded body's length",
    (_request, response) => response.writeHead(200, { 'content-length': 77, 'content-encoding': 'gzip' }).end(),
  ],
  ['no HTTP', (request) => request.socket.end('what\r\n\r\n')],
]

describe.each(HEADS)('a HEAD answered with %s', (_what, head) => {
  it('leaves it to a GET of one byte whether a blob is there, and how long it is', async () => {
    const server = await odd(head)
    const client = clientOf(server)
    expect(await client.headBlob(blob(server.host))).toEqual({ size: BLOB.size })
    const gets = server.requests.filter(({ method, url }) => method === 'GET' && url !== '/v2/')
    expect(gets.map(({ headers }) => headers.range)).toEqual(['bytes=0-0'])
    expect(client.waits).toEqual([])
  })

  it('leaves it to a GET whether a manifest is there, which is handed on', async () => {
    const server = await odd(head)
    const client = clientOf(server)
    expect(await client.headManifest(manifest(server.host, DIGEST))).toEqual({
      status: 200,
      mediaType: TYPE,
      digest: DIGEST,
      sizeBytes: MANIFEST.length,
      manifest: { status: 200, bytes: MANIFEST, mediaType: TYPE, digest: DIGEST },
    })
    expect(client.waits).toEqual([])
  })
})

describe('a GET that has to decide', () => {
  it.each([
    [404, 'NOT_FOUND'],
    [403, 'DENIED'],
    [401, 'UNAUTHORIZED'],
  ])('has the last word: %i', async (status, code) => {
    const refuse: Answer = (_request, response) => response.writeHead(status).end()
    const server = await odd(refuse, refuse)
    const client = clientOf(server)
    await expect(client.headBlob(blob(server.host))).rejects.toMatchObject({ code })
    await expect(client.headManifest(manifest(server.host))).rejects.toMatchObject({ code })
    expect(server.requests.filter(({ url }) => url !== '/v2/')).toHaveLength(4)
  })

  it.each([
    ['a challenge', 401, { 'www-authenticate': 'Basic realm="x"' }, 'UNAUTHORIZED'],
    ['a limited rate', 429, { 'retry-after': '3600' }, 'RATE_LIMITED'],
    ['an origin that is away', 503, { 'retry-after': '3600' }, 'UNAVAILABLE'],
  ])('is not needed for %s', async (_what, status, headers, code) => {
    const server = await odd((_request, response) => response.writeHead(status, headers).end())
    const client = clientOf(server)
    await expect(client.headBlob(blob(server.host))).rejects.toMatchObject({ code })
    expect(server.requests.map(({ method }) => method)).toEqual(['HEAD'])
  })

  it('reads where a redirect leads whose signature is for GET alone', async () => {
    const storage = await odd((_request, response) => response.writeHead(403).end('SignatureDoesNotMatch'))
    const redirect: Answer = (request, response) =>
      response.writeHead(307, { location: `${storage.url}${request.url}` }).end()
    const server = await odd(redirect, redirect)
    expect(await clientOf(server).headBlob(blob(server.host))).toEqual({ size: BLOB.size })
    expect(await clientOf(server).headManifest(manifest(server.host))).toMatchObject({ digest: DIGEST })
  })

  it('counts a blob whose length nobody tells', async () => {
    const server = await odd(
      (_request, response) => response.writeHead(405).end(),
      (_request, response) => {
        for (const byte of [0, 4000]) response.write(BLOB.bytes.subarray(byte, byte + 4000))
        response.end(BLOB.bytes.subarray(8000))
      },
    )
    expect(await clientOf(server).headBlob(blob(server.host))).toEqual({ size: BLOB.size })
  })

  it('asks for the whole where a part does not tell the length', async () => {
    const server = await odd(
      (_request, response) => response.writeHead(405).end(),
      (request, response) => {
        if (request.headers.range === undefined) return sendBlob(request, response, BLOB.bytes)
        response.writeHead(206, { 'content-range': 'bytes 0-0/*' }).end('x')
      },
    )
    expect(await clientOf(server).headBlob(blob(server.host))).toEqual({ size: BLOB.size })
  })

  it('is believed that a blob is empty for the empty digest only', async () => {
    const empty: Answer = (_request, response) => response.writeHead(200, { 'content-length': 0 }).end()
    const server = await odd(empty, empty)
    const client = clientOf(server)
    expect(await client.headBlob(blob(server.host, EMPTY))).toEqual({ size: 0 })
    expect(server.requests).toHaveLength(1)
    await expect(client.headBlob(blob(server.host))).rejects.toMatchObject({ code: 'PROTOCOL' })
  })
})
