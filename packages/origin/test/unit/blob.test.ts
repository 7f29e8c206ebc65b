import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OriginError } from '../../src/errors.ts'
import { RangeReceiver } from '../../src/range-receiver.ts'
import { clientOf, collect, makeBlob, NEVER, rangeOf, sendBlob, serve } from './fixtures.ts'

const BLOB = makeBlob(300_000)
const REPOSITORY = 'library/test'
const PART = { start: 1000, end: 250_999 }
const partBytes = BLOB.bytes.subarray(PART.start, PART.end + 1)
const call = (host: string) => ({ registry: host, repository: REPOSITORY, digest: BLOB.digest, size: BLOB.size })
const rejection = async (promise: Promise<unknown>): Promise<OriginError> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(OriginError)
  return error as OriginError
}

describe('fetchBlob', () => {
  it('asks for a part with Range, for the whole without', async () => {
    const server = await serve((request, response) => sendBlob(request, response, BLOB.bytes))
    const client = clientOf(server)
    expect((await collect(client, { ...call(server.host), ...PART })).bytes.equals(partBytes)).toBe(true)
    const whole = await collect(client, { ...call(server.host), start: 0, end: BLOB.size - 1 })
    expect(whole).toEqual({ bytes: BLOB.bytes, rangesIgnored: false })
    const [part, all] = server.requests
    expect(part?.headers).toMatchObject({ range: 'bytes=1000-250999', 'accept-encoding': 'identity' })
    expect(part?.url).toBe(`/v2/${REPOSITORY}/blobs/${BLOB.digest}`)
    expect(all?.headers.range).toBeUndefined()
  })

  it('cuts the wanted bytes out when the origin ignores Range', async () => {
    const server = await serve((_request, response) => response.writeHead(200).end(BLOB.bytes))
    const { bytes, rangesIgnored } = await collect(clientOf(server), { ...call(server.host), ...PART })
    expect(rangesIgnored).toBe(true)
    expect(bytes.equals(partBytes)).toBe(true)
  })

  it('resumes where a body broke off, while each time brings bytes', async () => {
    const server = await serve((request, response) => {
      const { start, end } = rangeOf(request) ?? { start: 0, end: BLOB.size - 1 }
      const part = BLOB.bytes.subarray(start, end + 1)
      response.writeHead(206, { 'content-length': part.length, 'content-range': `bytes ${start}-${end}/${BLOB.size}` })
      if (server.requests.length === 4) response.end(part)
      else response.write(part.subarray(0, 50_000), () => response.destroy())
    })
    const { bytes } = await collect(clientOf(server), { ...call(server.host), ...PART })
    expect(bytes.equals(partBytes)).toBe(true)
    expect(server.requests.map((request) => request.headers.range)).toEqual([
      'bytes=1000-250999',
      'bytes=51000-250999',
      'bytes=101000-250999',
      'bytes=151000-250999',
    ])
  })

  it('resumes a whole blob whose body simply ends early', async () => {
    const server = await serve((request, response) => {
      if (rangeOf(request) !== undefined) return sendBlob(request, response, BLOB.bytes)
      response.writeHead(200, { connection: 'close' }).end(BLOB.bytes.subarray(0, 100_000))
    })
    const { bytes } = await collect(clientOf(server), { ...call(server.host), start: 0, end: BLOB.size - 1 })
    expect(bytes.equals(BLOB.bytes)).toBe(true)
    expect(server.requests[1]?.headers.range).toBe(`bytes=100000-${BLOB.size - 1}`)
  })

  it('gives up after three resumes', async () => {
    const server = await serve((request, response) => {
      const { start, end } = rangeOf(request) ?? { start: 0, end: 0 }
      response.writeHead(206, { 'content-range': `bytes ${start}-${end}/${BLOB.size}` })
      response.write(BLOB.bytes.subarray(start, start + 1000), () => response.destroy())
    })
    const error = await rejection(collect(clientOf(server), { ...call(server.host), ...PART }))
    expect(error.code).toBe('UNAVAILABLE')
    expect(server.requests).toHaveLength(4)
  })

  it('does not resume without progress', async () => {
    const server = await serve((request, response) => {
      const { start, end } = rangeOf(request) ?? { start: 0, end: 0 }
      response.writeHead(206, { 'content-range': `bytes ${start}-${end}/${BLOB.size}` }).end()
    })
    const error = await rejection(collect(clientOf(server), { ...call(server.host), ...PART }))
    expect(error.code).toBe('UNAVAILABLE')
    expect(server.requests).toHaveLength(1)
  })

  it.each([
    ['another start', 206, { 'content-range': `bytes 0-249999/${BLOB.size}` }, 'PROTOCOL'],
    ['another end', 206, { 'content-range': `bytes 1000-1500/${BLOB.size}` }, 'PROTOCOL'],
    ['another total', 206, { 'content-range': 'bytes 1000-250999/400000' }, 'SIZE_MISMATCH'],
    ['no Content-Range', 206, {}, 'PROTOCOL'],
    [
      'a contradicting length',
      206,
      { 'content-range': `bytes 1000-250999/${BLOB.size}`, 'content-length': '5' },
      'PROTOCOL',
    ],
    ['another length', 200, { 'content-length': '400000' }, 'SIZE_MISMATCH'],
    ['gzip', 200, { 'content-encoding': 'gzip' }, 'PROTOCOL'],
    ['416 and another size', 416, { 'content-range': 'bytes */500' }, 'SIZE_MISMATCH'],
    ['416', 416, {}, 'PROTOCOL'],
  ])('refuses an answer with %s, without handing on a byte', async (_what, status, headers, code) => {
    const server = await serve((_request, response) => {
      response.writeHead(status, headers)
      response.write('12345')
    })
    let chunks = 0
    const fetched = clientOf(server).fetchBlob({ ...call(server.host), ...PART, signal: NEVER }, () => chunks++)
    expect((await rejection(fetched)).code).toBe(code)
    expect(chunks).toBe(0)
    expect(server.requests).toHaveLength(1)
  })

  it.each([
    ['the whole', { start: 0, end: BLOB.size - 1 }, 'SIZE_MISMATCH'],
    ['a part', PART, 'PROTOCOL'],
  ])('refuses more bytes than asked for: %s', async (_what, range, code) => {
    const server = await serve((request, response) => {
      const part = rangeOf(request)
      if (part !== undefined) {
        response.writeHead(206, { 'content-range': `bytes ${part.start}-${part.end}/${BLOB.size}` })
      }
      response.end(Buffer.alloc(BLOB.size + 1))
    })
    let received = 0
    const fetched = clientOf(server).fetchBlob({ ...call(server.host), ...range, signal: NEVER }, (chunk) => {
      received += chunk.length
    })
    expect((await rejection(fetched)).code).toBe(code)
    expect(received).toBeLessThanOrEqual(range.end - range.start + 1)
  })

  it('is STALLED when no head, or no further byte, comes in time', async () => {
    const server = await serve((request, response) => {
      if (server.requests.length === 1) return
      const { start, end } = rangeOf(request) ?? { start: 0, end: 0 }
      response.writeHead(206, { 'content-range': `bytes ${start}-${end}/${BLOB.size}` })
      response.write(BLOB.bytes.subarray(start, start + 10))
    })
    const client = clientOf(server, { limits: { headersTimeoutMs: 100, progressTimeoutMs: 100 } })
    expect((await rejection(collect(client, { ...call(server.host), ...PART }))).code).toBe('STALLED')
    let received = 0
    const fetched = client.fetchBlob({ ...call(server.host), ...PART, signal: NEVER }, (chunk) => {
      received += chunk.length
    })
    expect((await rejection(fetched)).code).toBe('STALLED')
    expect(received).toBe(10)
  })

  it('hands on what onChunk throws, and breaks the request off', async () => {
    let closed: () => void
    const isClosed = new Promise<void>((resolve) => {
      closed = resolve
    })
    const server = await serve((_request, response) => {
      response.on('close', () => closed())
      response.writeHead(200, { 'content-length': BLOB.size }).write(BLOB.bytes.subarray(0, 1000))
    })
    // A code like a network error's must not make it one.
    const fault = Object.assign(new Error('disk full'), { code: 'ENOSPC' })
    const fetched = clientOf(server).fetchBlob(
      { ...call(server.host), start: 0, end: BLOB.size - 1, signal: NEVER },
      () => {
        throw fault
      },
    )
    await expect(fetched).rejects.toBe(fault)
    await isClosed
    expect(server.requests).toHaveLength(1)
  })

  it("is ABORTED by the caller's signal and by close()", async () => {
    const server = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': BLOB.size }).write(BLOB.bytes.subarray(0, 1000))
    })
    const client = clientOf(server)
    const range = { ...call(server.host), start: 0, end: BLOB.size - 1 }
    const abort = new AbortController()
    expect((await rejection(client.fetchBlob({ ...range, signal: abort.signal }, () => abort.abort()))).code).toBe(
      'ABORTED',
    )
    expect((await rejection(collect(client, { ...range, signal: abort.signal }))).code).toBe('ABORTED')
    const closing = client.fetchBlob({ ...range, signal: NEVER }, () => void client.close())
    expect((await rejection(closing)).code).toBe('ABORTED')
    expect((await rejection(collect(client, range))).code).toBe('ABORTED')
  })

  it.each([
    { start: -1, end: 5 },
    { start: 5, end: 4 },
    { start: 0, end: BLOB.size },
    { start: 0.5, end: 2 },
  ])('refuses %o, which is no part of the blob', async (range) => {
    const server = await serve((_request, response) => response.end())
    await expect(collect(clientOf(server), { ...call(server.host), ...range })).rejects.toThrow(RangeError)
    expect(server.requests).toHaveLength(0)
  })
})

describe('headBlob', () => {
  it('tells the size', async () => {
    const server = await serve((request, response) => sendBlob(request, response, BLOB.bytes))
    expect(await clientOf(server).headBlob({ ...call(server.host), signal: NEVER })).toEqual({ size: BLOB.size })
    expect(server.requests.map(({ method }) => method)).toEqual(['HEAD'])
  })

  it('asks for many sizes over the same connections', async () => {
    const ports = new Set<number | undefined>()
    const server = await serve((request, response) => {
      ports.add(request.socket.remotePort)
      sendBlob(request, response, BLOB.bytes)
    })
    const client = clientOf(server)
    for (let i = 0; i < 20; i++) await client.headBlob({ ...call(server.host), signal: NEVER })
    await collect(client, { ...call(server.host), ...PART })
    // One may still be busy with the end of the last answer.
    expect(ports.size).toBeLessThanOrEqual(2)
  })

  it('takes a body that has no place after HEAD for nothing', async () => {
    const fake = Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad')
    const server = await serve((request, response) => {
      if (request.method !== 'HEAD') return sendBlob(request, response, BLOB.bytes)
      request.socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${BLOB.size}\r\n\r\n${fake}`)
    })
    const client = clientOf(server)
    for (let i = 0; i < 3; i++) {
      expect(await client.headBlob({ ...call(server.host), signal: NEVER })).toEqual({ size: BLOB.size })
      expect((await collect(client, { ...call(server.host), ...PART })).bytes.equals(partBytes)).toBe(true)
    }
  })

  it.each(['206', '200', '416'])('learns the size from a %s where HEAD has no Content-Length', async (how) => {
    const server = await serve((request, response) => {
      if (request.method === 'HEAD') return response.writeHead(200, { 'transfer-encoding': 'chunked' }).end()
      if (how === '206') return sendBlob(request, response, BLOB.bytes)
      if (how === '416') return response.writeHead(416, { 'content-range': `bytes */${BLOB.size}` }).end()
      return response.writeHead(200, { 'content-length': BLOB.size }).end(BLOB.bytes)
    })
    expect(await clientOf(server).headBlob({ ...call(server.host), signal: NEVER })).toEqual({ size: BLOB.size })
  })

  it('is NOT_FOUND or DENIED as the origin says', async () => {
    const server = await serve((_request, response) =>
      response.writeHead(server.requests.length <= 2 ? 404 : 403).end(),
    )
    const client = clientOf(server)
    const head = () => client.headBlob({ ...call(server.host), signal: NEVER })
    expect(await rejection(head())).toMatchObject({ code: 'NOT_FOUND', data: { status: 404, repository: REPOSITORY } })
    expect(await rejection(head())).toMatchObject({ code: 'DENIED', data: { status: 403 } })
  })
})

describe('RangeReceiver', () => {
  it('hands on exactly the wanted bytes, however the body is cut and whether Range is heeded', () => {
    const bytes = Buffer.from(Array.from({ length: 200 }, (_, i) => i))
    const offsets = fc.tuple(fc.nat(199), fc.nat(199)).map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) }))
    fc.assert(
      fc.property(
        offsets,
        fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 20 }),
        fc.boolean(),
        (range, cuts, isHeeded) => {
          const out: Buffer[] = []
          const receiver = new RangeReceiver({ registry: 'r', repository: 'a' }, { ...range, size: 200 }, (chunk) =>
            out.push(chunk),
          )
          const isPart = receiver.rangeHeader() !== undefined && isHeeded
          const body = isPart ? bytes.subarray(range.start, range.end + 1) : bytes
          receiver.onHead(
            isPart
              ? { status: 206, headers: { 'content-range': `bytes ${range.start}-${range.end}/200` } }
              : { status: 200, headers: {} },
          )
          let at = 0
          for (const cut of [...cuts, 200]) {
            const chunk = body.subarray(at, at + cut)
            at += chunk.length
            if (chunk.length > 0 && !receiver.onData(chunk)) break
          }
          expect(Buffer.concat(out).equals(bytes.subarray(range.start, range.end + 1))).toBe(true)
          expect(receiver.next).toBe(range.end + 1)
        },
      ),
    )
  })
})
