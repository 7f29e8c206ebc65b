import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { connect as connectHttp2, constants } from 'node:http2'
import { Agent, request } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import { createLogger, digestOf } from '@shoal/core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Certificate } from '../../src/http/certificate.ts'
import { content, type RunningRegistry, startRegistry, temporaryFolder } from '../running-registry.ts'

const run = promisify(execFile)
const MIB = 1024 * 1024

let folder: string
const running: RunningRegistry[] = []

/** Makes a certificate for the loopback that is its own root; returns its PEM. */
async function makeCertificate(name: string): Promise<string> {
  const [keyFile, certFile] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)]
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1']
  await run('openssl', ['req', ...kind, ...subject, '-keyout', keyFile, '-out', certFile])
  return readFile(certFile, 'utf8')
}

const filesOf = (name: string) => ({ certFile: join(folder, `${name}.pem`), keyFile: join(folder, `${name}.key`) })

beforeAll(async () => {
  folder = await temporaryFolder()
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(async () => {
  for (const each of running.splice(0)) await each.dispose()
})

async function start(tls: object): Promise<RunningRegistry> {
  const registry = await startRegistry({ tls })
  running.push(registry)
  return registry
}

interface Answer {
  readonly status: number
  readonly headers: Record<string, unknown>
  readonly bytes: Buffer
}

/** One client over HTTP/2, and one over HTTP/1.1 that keeps its connection. */
function clientsOf(url: string, ca: string, more: object = {}) {
  const session = connectHttp2(url, { ca, ...more })
  // Told to whoever asks on it.
  session.on('error', () => {})
  const agent = new Agent({ ca, keepAlive: true, maxSockets: 1, ...more })
  const http2 = async (method: string, path: string, body?: Buffer): Promise<Answer> => {
    const stream = session.request({ ':method': method, ':path': path })
    stream.end(body)
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
    const chunks: Buffer[] = []
    for await (const chunk of stream) chunks.push(chunk)
    return { status: Number(headers[constants.HTTP2_HEADER_STATUS]), headers, bytes: Buffer.concat(chunks) }
  }
  const http1 = async (method: string, path: string, body?: Buffer): Promise<Answer> => {
    const asked = request(url + path, { agent, method })
    asked.end(body)
    const [answer] = await once(asked, 'response')
    const chunks: Buffer[] = []
    for await (const chunk of answer) chunks.push(chunk)
    return { status: answer.statusCode, headers: answer.headers, bytes: Buffer.concat(chunks) }
  }
  const close = () => {
    session.destroy()
    agent.destroy()
  }
  return { http2, http1, session, close }
}

describe('a registry with TLS', () => {
  it('takes and gives blobs over HTTP/2 and over HTTP/1.1, on one port', async () => {
    const ca = await makeCertificate('both')
    const { url } = await start(filesOf('both'))
    expect(url).toMatch(/^https:/)
    const { http2, http1, session, close } = clientsOf(url, ca)
    for (const [name, ask] of Object.entries({ http2, http1 })) {
      const bytes = content(name, 9 * MIB + 1)
      const begun = await ask('POST', '/v2/app/blobs/uploads/')
      expect(begun.status).toBe(202)
      const location = new URL(String(begun.headers.location), url)
      location.searchParams.set('digest', digestOf(bytes))
      expect((await ask('PUT', location.pathname + location.search, bytes)).status).toBe(201)
      const pulled = await ask('GET', `/v2/app/blobs/${digestOf(bytes)}`)
      expect(pulled.status).toBe(200)
      expect(createHash('sha256').update(pulled.bytes).digest('hex')).toBe(digestOf(bytes).slice(7))
      expect((await ask('GET', '/v2/app/manifests/none')).bytes.toString()).toContain('MANIFEST_UNKNOWN')
    }
    expect(session.alpnProtocol).toBe('h2')
    close()
  })

  it('calls itself https in whole URLs, by both protocols', async () => {
    const ca = await makeCertificate('named')
    const registry = await startRegistry({
      tls: filesOf('named'),
      relativeUrls: false,
      trustedProxies: ['127.0.0.1'],
    })
    running.push(registry)
    const { http2, http1, close } = clientsOf(registry.url, ca)
    for (const ask of [http2, http1]) {
      const { headers } = await ask('POST', '/v2/app/blobs/uploads/')
      expect(String(headers.location)).toMatch(new RegExp(`^${registry.url}/v2/app/blobs/uploads/`))
    }
    close()
  })

  it('speaks HTTP/1.1 alone when told so', async () => {
    const ca = await makeCertificate('one')
    const { url } = await start({ ...filesOf('one'), http2: false })
    const socket = connectTls({
      host: '127.0.0.1',
      port: Number(new URL(url).port),
      ca,
      ALPNProtocols: ['h2', 'http/1.1'],
    })
    await once(socket, 'secureConnect')
    expect(socket.alpnProtocol).toBe('http/1.1')
    socket.destroy()
    const { http1, close } = clientsOf(url, ca)
    expect((await http1('GET', '/v2/')).status).toBe(200)
    close()
  })

  it('lets in only clients with a certificate that it knows, when told so', async () => {
    const [ca, own] = [await makeCertificate('server'), await makeCertificate('client')]
    await makeCertificate('stranger')
    const audit = join(folder, 'audit')
    const tls = { ...filesOf('server'), clientCaFile: join(folder, 'client.pem') }
    const registry = await startRegistry({ tls, audit: { enabled: true, folder: audit } })
    running.push(registry)
    const { url } = registry
    const clientKey = await readFile(join(folder, 'client.key'), 'utf8')
    const known = clientsOf(url, ca, { cert: own, key: clientKey })
    expect((await known.http1('GET', '/v2/')).status).toBe(200)
    const bytes = content('by somebody', 100)
    for (const ask of [known.http1, known.http2]) {
      const pushed = await ask('POST', `/v2/app/blobs/uploads/?digest=${digestOf(bytes)}`, bytes)
      expect(pushed.status).toBe(201)
    }
    known.close()
    const cert = await readFile(join(folder, 'stranger.pem'), 'utf8')
    const key = await readFile(join(folder, 'stranger.key'), 'utf8')
    for (const more of [{}, { cert, key }]) {
      const { http1, close } = clientsOf(url, ca, more)
      await expect(http1('GET', '/v2/')).rejects.toThrow()
      close()
    }
    await registry.stop()
    const lines = await Promise.all((await readdir(audit)).map((name) => readFile(join(audit, name), 'utf8')))
    const said = lines
      .join('')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    const of = (action: string, outcome: string) =>
      said.filter((line) => line.action === action && line.outcome === outcome)
    expect(of('push', 'done').map(({ actor }) => actor)).toEqual(['client', 'client'])
    expect(new Set(of('authenticate', 'done').map(({ actor }) => actor))).toEqual(new Set(['client']))
    const refused = of('authenticate', 'refused')
    expect(refused.length).toBeGreaterThanOrEqual(2)
    for (const { actor, address, code } of refused) {
      expect(actor).toBeNull()
      expect(address).toMatch(/^127\.0\.0\.1:[0-9]+$/)
      expect(code).toMatch(/^[A-Z_]+$/)
    }
    expect(refused.map(({ code }) => code)).toContain('DEPTH_ZERO_SELF_SIGNED_CERT')
  })

  it('ends at once when nobody asks for anything, and answers who does', async () => {
    const ca = await makeCertificate('ends')
    const registry = await start(filesOf('ends'))
    const { http2, http1, session, close } = clientsOf(registry.url, ca)
    await http1('GET', '/v2/')
    const bytes = content('last', 4 * MIB)
    const stream = session.request({ ':method': 'POST', ':path': `/v2/app/blobs/uploads/?digest=${digestOf(bytes)}` })
    stream.write(bytes.subarray(0, MIB))
    await http2('GET', '/v2/')
    const beganMs = performance.now()
    const stopped = registry.stop()
    stream.end(bytes.subarray(MIB))
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
    expect(headers[constants.HTTP2_HEADER_STATUS]).toBe(201)
    stream.resume()
    await stopped
    expect(performance.now() - beganMs).toBeLessThan(5000)
    close()
  })

  it('lets go of clients whose root is gone, also of those that are connected', { timeout: 40_000 }, async () => {
    const [ca, own] = [await makeCertificate('door'), await makeCertificate('leaver')]
    const other = await makeCertificate('stayer')
    const clientCaFile = join(folder, 'roots.pem')
    await writeFile(clientCaFile, own + other)
    const { url } = await start({ ...filesOf('door'), clientCaFile })
    const key = await readFile(join(folder, 'leaver.key'), 'utf8')
    const { http1, http2, session, close } = clientsOf(url, ca, { cert: own, key })
    expect((await http1('GET', '/v2/')).status).toBe(200)
    expect((await http2('GET', '/v2/')).status).toBe(200)
    const { host, port } = { host: '127.0.0.1', port: Number(new URL(url).port) }
    // Of an earlier connection, to be resumed.
    const tlsOptions = { host, port, ca, cert: own, key, maxVersion: 'TLSv1.2' } as const
    const earlier = connectTls(tlsOptions)
    await once(earlier, 'secureConnect')
    const ticket = earlier.getSession()
    const stalled = connect(port, host)
    await once(stalled, 'connect')
    const gone = [session, earlier, stalled].map((each) => once(each, 'close'))
    await writeFile(clientCaFile, other)
    await Promise.all(gone)
    await expect(http1('GET', '/v2/')).rejects.toThrow()
    const again = connectTls({ ...tlsOptions, ...(ticket === undefined ? {} : { session: ticket }) })
    await expect(once(again, 'secureConnect')).rejects.toThrow()
    close()
  })

  it.each([
    [{ certFile: '/none.pem', keyFile: '/none.key' }, 'tls.certFile: /none.pem can not be read'],
    ['mismatch', 'are not a certificate and its key'],
  ])('says what is wrong with its files: %j', async (tls, message) => {
    for (const name of ['a', 'b']) await makeCertificate(name)
    const files = { certFile: filesOf('a').certFile, keyFile: filesOf('b').keyFile }
    await expect(startRegistry({ tls: tls === 'mismatch' ? files : tls })).rejects.toThrow(message)
  })
})

describe('a certificate', () => {
  it('is taken when its files have changed, and not while they do not fit', async () => {
    for (const name of ['old', 'new']) await makeCertificate(name)
    const options = { ...filesOf('old'), http2: true }
    const certificate = await Certificate.read(options, { log: createLogger('test', 'silent'), lookEveryMs: 5 })
    const changes: string[] = []
    certificate.onChange(({ cert }) => changes.push(String(cert)))
    const fresh = await readFile(filesOf('new').certFile, 'utf8')
    await certificate.start()
    await rename(filesOf('new').certFile, options.certFile)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(changes).toEqual([])
    await rename(filesOf('new').keyFile, options.keyFile)
    await expect.poll(() => changes).toEqual([fresh])
    await certificate.stop()
    expect(certificate.context.cert).toBe(fresh)
  })
})
