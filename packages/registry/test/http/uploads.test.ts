import { readdir, stat, truncate } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { digestOf } from '@shoal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blobPath, uploadsPath } from '../../src/storage/paths.ts'
import {
  ask,
  beginUpload,
  content,
  errorOf,
  metric,
  pushBlob,
  type RunningRegistry,
  startRegistry,
} from '../running-registry.ts'

let registry: RunningRegistry
beforeAll(async () => {
  registry = await startRegistry()
})
afterAll(() => registry.dispose())

const pull = (repository: string, digest: string) => ask(`${registry.url}/v2/${repository}/blobs/${digest}`)
const patch = (url: string, body: Uint8Array, contentRange?: string) =>
  ask(url, { method: 'PATCH', body, headers: contentRange === undefined ? {} : { 'content-range': contentRange } })
const streamOf = (...parts: Uint8Array[]) =>
  new ReadableStream<Uint8Array>({
    pull(controller) {
      const part = parts.shift()
      if (part === undefined) controller.close()
      else controller.enqueue(part)
    },
  })
const storedBlob = (digest: string) =>
  stat(join(registry.dataDir, blobPath({ algorithm: 'sha256', hex: digest.slice(7) }))).then(
    (found) => found.size,
    () => undefined,
  )

describe.each(['sha256', 'sha512'] as const)('push of a blob named by its %s', (algorithm) => {
  const blob = (name: string, length = 512) => {
    const bytes = content(`${algorithm} ${name}`, length)
    return { bytes, digest: digestOf(bytes, algorithm) }
  }
  const expectPulled = async (repository: string, digest: string, bytes: Buffer) => {
    const answer = await pull(repository, digest)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('docker-content-digest')).toBe(digest)
    expect(answer.bytes.equals(bytes)).toBe(true)
    expect((await pull(repository, digestOf(bytes))).status).toBe(200)
  }

  it('by one POST', async () => {
    const { bytes, digest } = blob('post')
    const answer = await ask(`${registry.url}/v2/push/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes })
    expect(answer.status).toBe(201)
    expect(answer.headers.get('location')).toBe(`/v2/push/blobs/${digest}`)
    expect(answer.headers.get('docker-content-digest')).toBe(digest)
    await expectPulled('push', digest, bytes)
  })

  it('by POST and PUT', async () => {
    const { bytes, digest } = blob('post put')
    const url = await beginUpload(registry.url, 'push')
    const answer = await ask(`${url}?digest=${digest}`, { method: 'PUT', body: bytes })
    expect(answer.status).toBe(201)
    expect(answer.headers.get('location')).toBe(`/v2/push/blobs/${digest}`)
    await expectPulled('push', digest, bytes)
    expect(errorOf(await ask(url)).code).toBe('404 BLOB_UPLOAD_UNKNOWN')
  })

  it('by one streamed PATCH', async () => {
    const { bytes, digest } = blob('stream', 3_000_000)
    const url = await beginUpload(registry.url, 'push', `?digest-algorithm=${algorithm}`)
    const parts = [bytes.subarray(0, 10), bytes.subarray(10, 2_000_000), bytes.subarray(2_000_000)]
    const patched = await ask(url, { method: 'PATCH', body: streamOf(...parts) })
    expect([patched.status, patched.headers.get('range')]).toEqual([202, '0-2999999'])
    expect((await ask(`${url}?digest=${digest}`, { method: 'PUT' })).status).toBe(201)
    await expectPulled('push', digest, bytes)
  })

  it.each([false, true])('in chunks, the last one in the PUT: %s', async (lastInPut) => {
    const { bytes, digest } = blob(`chunks ${lastInPut}`, 1000)
    let url = await beginUpload(registry.url, 'push')
    for (const [start, end] of [
      [0, 399],
      [400, 799],
    ] as const) {
      const answer = await patch(url, bytes.subarray(start, end + 1), `${start}-${end}`)
      expect([answer.status, answer.headers.get('range')]).toEqual([202, `0-${end}`])
      url = new URL(answer.headers.get('location') ?? '', registry.url).href
    }
    const last = { body: bytes.subarray(800), headers: { 'content-range': '800-999' } }
    if (!lastInPut) expect((await ask(url, { method: 'PATCH', ...last })).status).toBe(202)
    const done = await ask(`${url}?digest=${digest}`, { method: 'PUT', ...(lastInPut ? last : {}) })
    expect(done.status).toBe(201)
    await expectPulled('push', digest, bytes)
  })

  it('goes on after chunks out of order, in PATCH and in PUT', async () => {
    const { bytes, digest } = blob('order', 900)
    const url = await beginUpload(registry.url, 'push')
    const bad = await patch(url, bytes.subarray(300, 600), '300-599')
    expect(errorOf(bad).code).toBe('416 RANGE_INVALID')
    expect(errorOf(bad).message).toContain('send the bytes from 0 on')
    expect(bad.headers.get('location')).toBe(new URL(url).pathname)
    expect((await patch(url, bytes.subarray(0, 300), '0-299')).status).toBe(202)
    expect((await patch(url, bytes.subarray(0, 300), '0-299')).status).toBe(416)
    const early = { body: bytes.subarray(600), headers: { 'content-range': '600-899' } }
    expect((await ask(`${url}?digest=${digest}`, { method: 'PUT', ...early })).status).toBe(416)
    const status = await ask(url)
    expect([status.status, status.headers.get('range')]).toEqual([204, '0-299'])
    expect((await patch(url, bytes.subarray(300, 600), '300-599')).status).toBe(202)
    expect((await ask(`${url}?digest=${digest}`, { method: 'PUT', ...early })).status).toBe(201)
    await expectPulled('push', digest, bytes)
  })

  it('refuses other bytes than the digest names, and keeps nothing of them', async () => {
    const { bytes } = blob('wrong')
    const claimed = digestOf('something else', algorithm)
    const url = await beginUpload(registry.url, 'push')
    await patch(url, bytes)
    const put = await ask(`${url}?digest=${claimed}`, { method: 'PUT' })
    const post = await ask(`${registry.url}/v2/push/blobs/uploads/?digest=${claimed}`, { method: 'POST', body: bytes })
    for (const answer of [put, post]) {
      expect(errorOf(answer).code).toBe('400 DIGEST_INVALID')
      expect(errorOf(answer).message).toContain(claimed)
      expect(errorOf(answer).message).toContain(digestOf(bytes, algorithm))
    }
    expect(await storedBlob(digestOf(bytes))).toBeUndefined()
    expect((await pull('push', claimed)).status).toBe(404)
    expect((await ask(url)).status).toBe(404)
    expect(await readdir(join(registry.dataDir, uploadsPath('push')))).toEqual([])
  })
})

describe('upload', () => {
  it('says where a new session stands', async () => {
    const answer = await ask(`${registry.url}/v2/n/blobs/uploads/`, { method: 'POST' })
    expect(answer.status).toBe(202)
    expect(answer.headers.get('range')).toBe('0-0')
    expect(answer.headers.get('location')).toBe(`/v2/n/blobs/uploads/${answer.headers.get('docker-upload-uuid')}`)
  })

  it.each([
    ['PUT', '', '400 DIGEST_INVALID'],
    ['PUT', '?digest=sha256:bad', '400 DIGEST_INVALID'],
    ['PUT', `?digest=md5:${'0'.repeat(32)}`, '400 DIGEST_INVALID'],
  ])('refuses %s%s and keeps the session', async (method, query, code) => {
    const url = await beginUpload(registry.url, 'n')
    await patch(url, content('kept', 5))
    expect(errorOf(await ask(url + query, { method })).code).toBe(code)
    expect((await ask(url)).headers.get('range')).toBe('0-4')
  })

  it.each([
    ['0-', '416 RANGE_INVALID'],
    ['bytes 0-4', '416 RANGE_INVALID'],
    ['4-0', '416 RANGE_INVALID'],
    ['0-5', '400 SIZE_INVALID'],
    ['0-3', '400 SIZE_INVALID'],
  ])('refuses the Content-Range %s for five bytes and keeps the session', async (contentRange, code) => {
    const url = await beginUpload(registry.url, 'n')
    expect(errorOf(await patch(url, content('five', 5), contentRange)).code).toBe(code)
    expect((await patch(url, content('five', 5), '0-4')).status).toBe(202)
  })

  it('stops a streamed chunk that is longer or shorter than its Content-Range', async () => {
    const bytes = content('streamed chunk', 20)
    for (const contentRange of ['0-9', '0-29']) {
      const url = await beginUpload(registry.url, 'n')
      const headers = { 'content-range': contentRange }
      const answer = await ask(url, {
        method: 'PATCH',
        body: streamOf(bytes.subarray(0, 8), bytes.subarray(8)),
        headers,
      })
      expect(errorOf(answer).code).toBe('400 SIZE_INVALID')
      const at = Number((await ask(url)).headers.get('range')?.slice(2)) + 1
      expect(at).toBeLessThanOrEqual(20)
      await patch(url, bytes.subarray(at))
      expect((await ask(`${url}?digest=${digestOf(bytes)}`, { method: 'PUT' })).status).toBe(201)
    }
  })

  it.each(['GET', 'PATCH', 'PUT', 'DELETE'])('answers %s of an unknown session', async (method) => {
    for (const id of ['0ec8ae1b-32bd-4b1c-9a5b-0c8e2b1c2d3e', 'x', '..%2f..']) {
      const url = `${registry.url}/v2/n/blobs/uploads/${id}?digest=${digestOf('')}`
      expect(errorOf(await ask(url, { method })).code).toMatch(
        id.includes('2f') ? /^40[04] / : /^404 BLOB_UPLOAD_UNKNOWN$/,
      )
    }
  })

  it('is unknown in another repository', async () => {
    const url = await beginUpload(registry.url, 'n')
    expect((await ask(url.replace('/v2/n/', '/v2/m/'))).status).toBe(404)
  })

  it('is gone when it is cancelled', async () => {
    const url = await beginUpload(registry.url, 'n')
    await patch(url, content('cancelled', 5))
    expect((await ask(url, { method: 'DELETE' })).status).toBe(204)
    expect((await ask(url)).status).toBe(404)
    expect((await ask(url, { method: 'DELETE' })).status).toBe(404)
  })

  it('keeps what came when the client leaves mid-way, and lets nobody else write meanwhile', async () => {
    const bytes = content('interrupted', 100_000)
    const url = await beginUpload(registry.url, 'interrupted')
    const first = httpRequest(url, { method: 'PATCH' })
    first.on('error', () => {})
    const before = await metric(registry.metricsUrl, 'shoal_registry_upload_bytes_received_total')
    first.write(bytes.subarray(0, 60_000))
    await expect
      .poll(async () => (await metric(registry.metricsUrl, 'shoal_registry_upload_bytes_received_total')) - before)
      .toBe(60_000)
    for (const method of ['PATCH', 'PUT', 'DELETE']) {
      const second = await ask(`${url}?digest=${digestOf(bytes)}`, { method })
      expect(errorOf(second).code).toBe('400 BLOB_UPLOAD_INVALID')
      expect(errorOf(second).message).toContain('another request is writing to upload')
    }
    first.destroy()
    await expect.poll(async () => (await ask(url)).headers.get('range')).toBe('0-59999')
    // The session is free a moment after the last byte is in its file.
    await expect.poll(async () => (await patch(url, bytes.subarray(60_000), '60000-99999')).status).toBe(202)
    expect((await ask(`${url}?digest=${digestOf(bytes)}`, { method: 'PUT' })).status).toBe(201)
    expect((await pull('interrupted', digestOf(bytes))).bytes.equals(bytes)).toBe(true)
  })

  it('replaces a stored blob that is not whole', async () => {
    const bytes = content('cut', 400)
    const digest = await pushBlob(registry.url, 'cut', bytes)
    const path = join(registry.dataDir, blobPath({ algorithm: 'sha256', hex: digest.slice(7) }))
    await truncate(path, 100)
    await pushBlob(registry.url, 'cut', bytes)
    expect((await pull('cut', digest)).bytes.equals(bytes)).toBe(true)
  })

  it('takes two pushes of the same blob at once', async () => {
    const bytes = content('twice', 200_000)
    const digests = await Promise.all([1, 2, 3].map(() => pushBlob(registry.url, 'twice', bytes)))
    expect((await pull('twice', digests[0] ?? '')).bytes.equals(bytes)).toBe(true)
  })
})

describe('mount', () => {
  const mount = (query: string) => ask(`${registry.url}/v2/to/blobs/uploads/?${query}`, { method: 'POST' })

  it('makes a blob of another repository visible', async () => {
    const digest = await pushBlob(registry.url, 'from', content('mounted', 50))
    const answer = await mount(`mount=${digest}&from=from`)
    expect(answer.status).toBe(201)
    expect(answer.headers.get('location')).toBe(`/v2/to/blobs/${digest}`)
    expect((await pull('to', digest)).status).toBe(200)
  })

  it('opens a session when there is nothing to mount, or it does not say from where', async () => {
    const digest = await pushBlob(registry.url, 'from', content('not mounted', 50))
    for (const query of [`mount=${digest}`, `mount=${digest}&from=other`, `mount=${digest}&from=NOT-A-NAME`]) {
      const answer = await mount(query)
      expect([answer.status, answer.headers.has('docker-upload-uuid')]).toEqual([202, true])
    }
    expect((await pull('to', digest)).status).toBe(404)
  })

  it('refuses what is no digest', async () => {
    expect(errorOf(await mount('mount=sha256:no&from=from')).code).toBe('400 DIGEST_INVALID')
    expect(errorOf(await mount('digest-algorithm=md5')).code).toBe('400 DIGEST_INVALID')
  })
})
