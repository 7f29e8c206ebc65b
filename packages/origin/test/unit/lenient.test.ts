import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { digestOf } from '@shoal/core'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { mendedHead } from '../../src/lenient-socket.ts'
import { makeCertificate } from './docker-registry.ts'
import { clientFor, collect, NEVER } from './fixtures.ts'

const BODY = Buffer.from('0123456789')
const CHUNKED = '5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n'
const DIGEST = digestOf(BODY)

/** A server that answers each request on a connection with this text. */
async function raw(answer: string | ((requests: number) => string[]), key?: { key: string; certificate: string }) {
  let connections = 0
  let requests = 0
  const sockets = new Set<Socket>()
  const handle = (socket: Socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => {})
    let head = ''
    socket.on('data', async (chunk) => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      head = ''
      requests++
      for (const part of typeof answer === 'string' ? [answer] : answer(requests)) {
        socket.write(part, 'latin1')
        await new Promise((resolve) => setImmediate(resolve))
      }
    })
  }
  const server =
    key === undefined ? createServer(handle) : createTlsServer({ key: key.key, cert: key.certificate }, handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { host, seen: () => ({ connections, requests }) }
}

const client = (host: string, scheme = 'http') => clientFor({ x: { url: `${scheme}://${host}`, insecureTls: true } })
const call = { registry: 'x', repository: 'a/b', digest: DIGEST, size: BODY.length, signal: NEVER }
const whole = { ...call, start: 0, end: BODY.length - 1 }

const ODD: readonly [string, string][] = [
  [
    'chunked with a Content-Length',
    `HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKED}`,
  ],
  ['chunked with a wrong one', `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 99\r\n\r\n${CHUNKED}`],
  ['the same Content-Length twice', `HTTP/1.1 200 OK\r\nContent-Length: 10\r\ncontent-length: 10\r\n\r\n${BODY}`],
  ['the same Content-Length twice in one', `HTTP/1.1 200 OK\r\nContent-Length: 10, 10\r\n\r\n${BODY}`],
  ['60 KiB of headers', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(60 * 1024)}\r\nContent-Length: 10\r\n\r\n${BODY}`],
  ['lines that end in LF alone', `HTTP/1.1 200 OK\nContent-Length: 10\n\n${BODY}`],
  ['a header that goes on in the next line', `HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 10\r\n\r\n${BODY}`],
  [
    'an interim answer before',
    `HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 10\r\n\r\n${BODY}`,
  ],
]

describe.each(ODD)('an answer with %s', (_what, answer) => {
  it('is read as Go reads it', async () => {
    const server = await raw(answer)
    const origin = client(server.host)
    expect((await collect(origin, whole)).bytes.equals(BODY)).toBe(true)
    expect((await collect(origin, whole)).bytes.equals(BODY)).toBe(true)
    expect((await origin.getManifest({ ...call, reference: DIGEST })).status).toBe(200)
  })

  it('is read however it is cut', async () => {
    const server = await raw((requests) => {
      const at = requests % answer.length
      return [answer.slice(0, at), answer.slice(at, at + 1), answer.slice(at + 1)]
    })
    const origin = client(server.host)
    for (let i = 0; i < 5; i++) expect((await collect(origin, whole)).bytes.equals(BODY)).toBe(true)
  })
})

it('each such answer has a connection of its own, which is known from the first one on', async () => {
  const server = await raw(`HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 10\r\n\r\n${BODY}`)
  const origin = client(server.host)
  for (let i = 0; i < 3; i++) await collect(origin, whole)
  expect(server.seen()).toEqual({ connections: 4, requests: 4 })
})

it('over TLS too', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-lenient-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const server = await raw(
    `HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 10\r\n\r\n${BODY}`,
    await makeCertificate(folder),
  )
  expect((await collect(client(server.host, 'https'), whole)).bytes.equals(BODY)).toBe(true)
})

describe('an answer is refused', () => {
  it.each([
    ['with two lengths', `HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 11\r\n\r\n${BODY}`],
    ['with more than 64 KiB of headers', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(70 * 1024)}\r\n\r\n${BODY}`],
    ['with a head that never ends', `HTTP/1.1 200 OK\r\n${'X-A: a\r\n'.repeat(20_000)}`],
    ['that is no HTTP', 'SSH-2.0-OpenSSH_9\r\n\r\n'],
  ])('%s', async (_what, answer) => {
    const server = await raw(answer)
    await expect(collect(client(server.host), whole)).rejects.toMatchObject({ code: 'PROTOCOL' })
  })

  it('without the headers that could not be handed on', async () => {
    const server = await raw(`HTTP/1.1 200 OK\r\nLink: </x\x01>\r\nContent-Length: 11\r\n\r\n{"tags":[]}`)
    expect(await client(server.host).listTags(call)).toEqual({ bytes: Buffer.from('{"tags":[]}') })
  })
})

it('a head without oddities stays as it is', () => {
  const name = fc
    .stringMatching(/^[a-z][a-z-]{0,10}$/)
    .filter((text) => !/^(content-length|transfer-encoding)$/.test(text))
  const value = fc.stringMatching(/^[ -~]{0,20}$/)
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value)), fc.nat(), (headers, length) => {
      const lines = [...headers.map(([key, text]) => `${key}: ${text}`), `Content-Length: ${length}`]
      const head = mendedHead(['HTTP/1.1 200 OK', ...lines].join('\r\n'))
      expect(head.split('\r\n').sort()).toEqual(['HTTP/1.1 200 OK', ...lines].sort())
    }),
  )
})
