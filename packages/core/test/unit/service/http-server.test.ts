import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { glob, mkdtemp, readFile, rm } from 'node:fs/promises'
import { request as requestHttp } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { request as requestHttps } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createHttpServer } from '../../../src/service/index.ts'

const PACKAGES = join(import.meta.dirname, '../../../../')
let folder: string
let certificate: { readonly cert: string; readonly key: string }
const servers: FastifyInstance[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-http-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const subject = ['-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1']
  await promisify(execFile)('openssl', ['req', ...kind, ...subject, '-keyout', key, '-out', cert])
  certificate = { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') }
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

type Door = 'plain' | 'TLS, HTTP/1.1 alone' | 'TLS, HTTP/1.1' | 'TLS, HTTP/2'
const DOORS: readonly Door[] = ['plain', 'TLS, HTTP/1.1 alone', 'TLS, HTTP/1.1', 'TLS, HTTP/2']

function serverFor(door: Door, silenceMs?: number): FastifyInstance {
  const tls = { ...certificate, mustKnowClient: false, http2: door !== 'TLS, HTTP/1.1 alone' }
  const options = { forceCloseConnections: true, ...(door === 'plain' ? {} : { tls }) }
  const server = silenceMs === undefined ? createHttpServer(options) : createHttpServer(options, silenceMs)
  server.get('/never', () => new Promise(() => {}))
  server.get('/*', async ({ url, host, headers }) => ({ url, host, custom: String(headers['x-custom'] ?? '').length }))
  servers.push(server)
  return server
}

async function portOf(server: FastifyInstance): Promise<number> {
  await server.listen({ host: '127.0.0.1', port: 0 })
  return (server.server.address() as AddressInfo).port
}

async function ask(
  door: Door,
  port: number,
  headers: Record<string, string>,
): Promise<[status: number, body: string, Record<string, unknown>]> {
  if (door === 'TLS, HTTP/2') {
    const session = connectHttp2(`https://127.0.0.1:${port}`, {
      ca: certificate.cert,
      maxSendHeaderBlockLength: 1024 * 1024,
    })
    const stream = session.request({ ':path': '/x', ...headers })
    const [answer] = (await once(stream, 'response')) as [Record<string, unknown>]
    const body = await text(stream)
    session.destroy()
    return [Number(answer[':status']), body, answer]
  }
  const request = door === 'plain' ? requestHttp : requestHttps
  const asked = request({ host: '127.0.0.1', port, path: '/x', headers, agent: false, ca: certificate.cert })
  asked.end()
  const [answer] = await once(asked, 'response')
  return [answer.statusCode, await text(answer), answer.headers]
}

describe.each(DOORS)('an HTTP server, %s,', (door) => {
  it('has no limit on how long a request lasts, and one on silence', () => {
    const { server } = serverFor(door)
    const { requestTimeout, headersTimeout, keepAliveTimeout, timeout } = server
    expect({ requestTimeout, headersTimeout, keepAliveTimeout, timeout }).toEqual({
      requestTimeout: 0,
      headersTimeout: 60_000,
      keepAliveTimeout: 300_000,
      timeout: 300_000,
    })
  })

  it('takes headers of up to 64 KiB, and answers larger ones with 431', async () => {
    const port = await portOf(serverFor(door))
    const [, small, answered] = await ask(door, port, { 'x-custom': 'a'.repeat(60_000) })
    expect(JSON.parse(small)).toMatchObject({ custom: 60_000 })
    expect(answered['x-content-type-options']).toBe('nosniff')
    // HTTP/2 has its own bound on a single value.
    const of = (bytes: number) => Object.fromEntries(['x-a', 'x-b', 'x-c'].map((name) => [name, 'a'.repeat(bytes / 3)]))
    expect((await ask(door, port, of(66_000)))[0]).toBe(431)
    const [status, body, refused] = await ask(door, port, of(90_000))
    expect([status, JSON.parse(body)]).toEqual([
      431,
      {
        errors: [
          {
            code: 'UNSUPPORTED',
            message: 'the headers of the request are larger than 64 KiB: send fewer or shorter ones',
          },
        ],
      },
    ])
    expect(refused['x-content-type-options']).toBe('nosniff')
  })

  it('ends a request that is silent for too long', async () => {
    const port = await portOf(serverFor(door, 100))
    if (door === 'TLS, HTTP/2') {
      const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: certificate.cert })
      session.on('error', () => {})
      const stream = session.request({ ':path': '/never' })
      stream.on('error', () => {})
      await once(stream, 'close')
      session.destroy()
      return
    }
    const request = door === 'plain' ? requestHttp : requestHttps
    const asked = request({ host: '127.0.0.1', port, path: '/never', agent: false, ca: certificate.cert }).end()
    await expect(once(asked, 'response')).rejects.toThrow('socket hang up')
  })
})

describe('a request target', () => {
  it.each([
    ['http://mirror.test:80/v2/a/tags/list?n=1', '/v2/a/tags/list?n=1', 'mirror.test:80'],
    ['HTTPS://mirror.test', '/', 'mirror.test'],
    ['http://mirror.test?x=1', '/?x=1', 'mirror.test'],
    ['/v2/?u=http://x/', '/v2/?u=http://x/', 'other'],
  ])('%s is read as RFC 9112 has it', async (target, url, host) => {
    const port = await portOf(serverFor('plain'))
    const socket = connect(port, '127.0.0.1')
    socket.write(`GET ${target} HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n`)
    const answer = await text(socket)
    expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4))).toMatchObject({ url, host })
  })

  it('that is no HTTP is refused', async () => {
    const port = await portOf(serverFor('plain'))
    const socket = connect(port, '127.0.0.1')
    socket.write('x\r\n\r\n')
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 .*"the request is not HTTP"/s)
  })
})

it('is made in one place for all doors', async () => {
  const makers: string[] = []
  for await (const path of glob('*/src/**/*.ts', { cwd: PACKAGES })) {
    const source = await readFile(join(PACKAGES, path), 'utf8')
    const makesOne = /^import (?!type)[^{]*Fastify\b.*from 'fastify'/m.test(source)
    const makesRaw = /^import \{[^}]*\bcreate(?:Secure)?Server\b[^}]*\} from 'node:https?2?'/m.test(source)
    if (makesOne || makesRaw) makers.push(path)
  }
  expect(makers).toEqual(['core/src/service/http-server.ts'])
})
