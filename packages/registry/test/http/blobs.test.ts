import { once } from 'node:events'
import { readdir, readlink, rm, truncate } from 'node:fs/promises'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { digestOf } from '@shoal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blobPath, layerLinkPath } from '../../src/storage/paths.ts'
import { ask, content, errorOf, metric, pushBlob, type RunningRegistry, startRegistry } from '../running-registry.ts'

let registry: RunningRegistry
const bytes = content('blob', 2048)
const digest = digestOf(bytes)
let blobUrl: string
beforeAll(async () => {
  registry = await startRegistry()
  blobUrl = `${registry.url}/v2/a/b/blobs/${digest}`
  await pushBlob(registry.url, 'a/b', bytes)
})
afterAll(() => registry.dispose())

describe('base', () => {
  it('answers /v2/ and names the API version', async () => {
    const answer = await ask(`${registry.url}/v2/`)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('docker-distribution-api-version')).toBe('registry/2.0')
    expect(answer.bytes.toString()).toBe('{}')
  })

  it.each([
    ['GET', '/v2/Bad/tags/list', '400 NAME_INVALID'],
    ['GET', '/v2/%zz/tags/list', '400 NAME_INVALID'],
    ['GET', '/v2/a/blobs/sha256:0', '400 DIGEST_INVALID'],
    ['POST', '/v2/a/tags/list', '405 UNSUPPORTED'],
    ['OPTIONS', '/v2/a/tags/list', '405 UNSUPPORTED'],
    ['GET', '/v2/a/blobs/uploads/', '405 UNSUPPORTED'],
    ['GET', '/favicon.ico', '404 UNSUPPORTED'],
  ])('answers %s %s with %s', async (method, path, code) => {
    const answer = await ask(registry.url + path, { method })
    expect(errorOf(answer).code).toBe(code)
    expect(answer.headers.get('docker-distribution-api-version')).toBe('registry/2.0')
    if (answer.status === 405) expect(answer.headers.get('allow')).toMatch(/GET|POST/)
  })
})

it('answers a request whose target is a whole URL, as for a proxy', async () => {
  const { port } = new URL(registry.url)
  const statusOf = async (path: string) => {
    const request = get({ host: '127.0.0.1', port, path, agent: false })
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    answer.resume()
    return answer.statusCode
  }
  expect(await statusOf('http://registry.test/v2/')).toBe(200)
  expect(await statusOf(`http://registry.test:5000/v2/a/b/blobs/${digest}`)).toBe(200)
})

describe('blob pull', () => {
  it('answers HEAD with the length and no body', async () => {
    const answer = await ask(blobUrl, { method: 'HEAD' })
    expect(answer.status).toBe(200)
    expect(answer.bytes.length).toBe(0)
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-length': '2048',
      'content-type': 'application/octet-stream',
      'docker-content-digest': digest,
      'accept-ranges': 'bytes',
      'cache-control': 'max-age=31536000',
      etag: `"${digest}"`,
    })
  })

  it('answers GET with the bytes', async () => {
    const answer = await ask(blobUrl)
    expect(answer.status).toBe(200)
    expect(answer.bytes.equals(bytes)).toBe(true)
    expect(answer.headers.get('docker-content-digest')).toBe(digest)
    expect(answer.headers.get('docker-distribution-api-version')).toBe('registry/2.0')
  })

  it('says what it does not hold', async () => {
    for (const url of [blobUrl.replace('/a/b/', '/other/'), blobUrl.replace(digest, digestOf('missing'))]) {
      const answer = await ask(url)
      expect(errorOf(answer).code).toBe('404 BLOB_UNKNOWN')
      expect(answer.headers.get('cache-control')).toBeNull()
      expect((await ask(url, { method: 'HEAD' })).status).toBe(404)
    }
  })

  it.each([
    ['bytes=500-1499', 500, 1499],
    ['bytes=500-', 500, 2047],
    ['bytes=-500', 1548, 2047],
    ['bytes=-5000', 0, 2047],
    ['bytes=0-9223372036854775807', 0, 2047],
    ['bytes=2000-5000', 2000, 2047],
    ['bytes=0-0', 0, 0],
  ])('answers Range %s with that part', async (range, start, end) => {
    const answer = await ask(blobUrl, { headers: { range } })
    expect(answer.status).toBe(206)
    expect(answer.headers.get('content-range')).toBe(`bytes ${start}-${end}/2048`)
    expect(answer.headers.get('content-length')).toBe(String(end - start + 1))
    expect(answer.bytes.equals(bytes.subarray(start, end + 1))).toBe(true)
  })

  it.each(['bytes=500-0', 'bytes=5000-10000', 'bytes=2048-', 'bytes=-0', 'bytes=x', 'bytes'])(
    'answers Range %s with 416 and what to write',
    async (range) => {
      const answer = await ask(blobUrl, { headers: { range } })
      expect(errorOf(answer).code).toBe('416 RANGE_INVALID')
      expect(errorOf(answer).message).toContain('bytes=<first>-<last>')
      expect(answer.headers.get('content-range')).toBe('bytes */2048')
    },
  )

  it('answers several ranges with several parts', async () => {
    const answer = await ask(blobUrl, { headers: { range: 'bytes=2000-, 0-99, 50-149' } })
    expect(answer.status).toBe(206)
    const boundary = answer.headers.get('content-type')?.replace('multipart/byteranges; boundary=', '') ?? ''
    const part = (start: number, end: number) =>
      Buffer.concat([
        Buffer.from(`--${boundary}\r\ncontent-type: application/octet-stream\r\n`),
        Buffer.from(`content-range: bytes ${start}-${end}/2048\r\n\r\n`),
        bytes.subarray(start, end + 1),
        Buffer.from('\r\n'),
      ])
    const whole = Buffer.concat([part(2000, 2047), part(0, 149), Buffer.from(`--${boundary}--\r\n`)])
    expect(answer.bytes.toString('latin1')).toBe(whole.toString('latin1'))
    expect(answer.headers.get('content-length')).toBe(String(whole.length))
  })

  it('answers what is conditional on the content, GET and HEAD', async () => {
    const weak = `"x", W/"${digest}"`
    for (const method of ['GET', 'HEAD']) {
      const status = async (headers: Record<string, string>) => (await ask(blobUrl, { method, headers })).status
      expect(await status({ 'if-none-match': weak })).toBe(304)
      expect(await status({ 'if-none-match': '*' })).toBe(304)
      expect(await status({ 'if-match': '"x"' })).toBe(412)
      expect(await status({ 'if-match': `"x", "${digest}"` })).toBe(200)
    }
    const weakPart = { range: 'bytes=0-1', 'if-range': `W/"${digest}"` }
    expect((await ask(blobUrl, { headers: weakPart })).status).toBe(200)
  })

  it('sends all when the Range is of another unit, or the client holds something else', async () => {
    for (const headers of [{ range: 'lines=1-2' }, { range: 'bytes=0-1', 'if-range': `"${digestOf('other')}"` }]) {
      const answer = await ask(blobUrl, { headers })
      expect([answer.status, answer.bytes.length]).toEqual([200, 2048])
    }
    expect((await ask(blobUrl, { headers: { range: 'bytes=0-1', 'if-range': `"${digest}"` } })).status).toBe(206)
  })

  it('answers 304 to a client that holds it', async () => {
    for (const etag of [`"${digest}"`, digest, `W/"${digest}"`, `"x", "${digest}"`, '*']) {
      const answer = await ask(blobUrl, { headers: { 'if-none-match': etag } })
      expect([answer.status, answer.bytes.length]).toEqual([304, 0])
    }
    expect((await ask(blobUrl, { headers: { 'if-none-match': '"x"' } })).status).toBe(200)
  })

  it('serves a blob of no bytes', async () => {
    const empty = await pushBlob(registry.url, 'empty', Buffer.alloc(0))
    const answer = await ask(`${registry.url}/v2/empty/blobs/${empty}`)
    expect([answer.status, answer.bytes.length, answer.headers.get('content-length')]).toEqual([200, 0, '0'])
    expect((await ask(`${registry.url}/v2/empty/blobs/${empty}`, { headers: { range: 'bytes=0-' } })).status).toBe(416)
  })

  it('does not serve a link without its blob, or a blob without a link', async () => {
    const orphan = content('orphan', 100)
    const text = await pushBlob(registry.url, 'orphans', orphan)
    const parts = { algorithm: 'sha256', hex: text.slice(7) } as const
    const url = `${registry.url}/v2/orphans/blobs/${text}`
    await truncate(join(registry.dataDir, layerLinkPath('orphans', parts)), 0)
    expect((await ask(url)).status).toBe(404)
    await pushBlob(registry.url, 'orphans', orphan)
    expect((await ask(url)).status).toBe(200)
    await rm(join(registry.dataDir, blobPath(parts)))
    expect((await ask(url)).status).toBe(404)
    expect((await ask(url, { method: 'HEAD' })).status).toBe(404)
  })
})

describe('blob delete', () => {
  it('makes it unknown in that repository alone', async () => {
    const text = await pushBlob(registry.url, 'del/one', content('del', 10))
    await pushBlob(registry.url, 'del/two', content('del', 10))
    const url = `${registry.url}/v2/del/one/blobs/${text}`
    expect((await ask(url, { method: 'DELETE' })).status).toBe(202)
    expect((await ask(url, { method: 'HEAD' })).status).toBe(404)
    expect(errorOf(await ask(url, { method: 'DELETE' })).code).toBe('404 BLOB_UNKNOWN')
    expect((await ask(`${registry.url}/v2/del/two/blobs/${text}`)).status).toBe(200)
  })
})

describe('what is counted and kept open', () => {
  const NAME = 'shoal_registry_blob_bytes_sent_total'
  const sentBy = async (work: () => Promise<unknown>) => {
    const before = await metric(registry.metricsUrl, NAME)
    await work()
    return (await metric(registry.metricsUrl, NAME)) - before
  }

  it('counts the body bytes of blobs, and of nothing else', async () => {
    expect(await sentBy(() => ask(blobUrl))).toBe(2048)
    expect(await sentBy(() => ask(blobUrl, { headers: { range: 'bytes=0-9' } }))).toBe(10)
    expect(await sentBy(() => ask(blobUrl, { method: 'HEAD' }))).toBe(0)
    expect(await sentBy(() => ask(blobUrl, { headers: { 'if-none-match': '*' } }))).toBe(0)
    expect(await sentBy(() => ask(`${registry.url}/v2/a/b/tags/list`))).toBe(0)
  })

  it('counts no more than was sent to a client that leaves, and closes the file', async () => {
    const LARGEST_CHUNK = 1024 * 1024
    const size = 64 * LARGEST_CHUNK
    const text = await pushBlob(registry.url, 'large', Buffer.alloc(size, 7))
    const path = join(registry.dataDir, blobPath({ algorithm: 'sha256', hex: text.slice(7) }))
    const isOpen = async () => {
      const open = await Promise.all((await readdir('/proc/self/fd')).map((fd) => link(`/proc/self/fd/${fd}`)))
      return open.includes(path)
    }
    const before = await metric(registry.metricsUrl, NAME)
    const received = await new Promise<number>((resolve, reject) => {
      const request = get(`${registry.url}/v2/large/blobs/${text}`, (response) => {
        let length = 0
        response.on('data', (chunk: Buffer) => {
          length += chunk.length
          if (length < 2 * LARGEST_CHUNK || response.isPaused()) return
          void isOpen().then((open) => {
            expect(open).toBe(true)
            response.once('close', () => resolve(length))
            response.destroy()
          }, reject)
          response.pause()
        })
      })
      request.on('error', () => {})
    })
    await expect.poll(isOpen, { timeout: 5000 }).toBe(false)
    const sent = (await metric(registry.metricsUrl, NAME)) - before
    // A chunk counts once all of it is on its way.
    expect(sent).toBeGreaterThan(received - LARGEST_CHUNK)
    expect(sent).toBeLessThan(size)
    await expect.poll(() => metric(registry.metricsUrl, 'registry_http_in_flight_requests'), { timeout: 5000 }).toBe(0)
  })
})

async function link(path: string): Promise<string> {
  return readlink(path).catch(() => '')
}
