import type { IncomingMessage, ServerResponse } from 'node:http'
import type { OriginClient } from '@shoal/origin'
import { Registry } from 'prom-client'
import { describe, expect, it } from 'vitest'
import { clientOf, NEVER, rangeOf, sendBlob, serve } from '../../../../origin/test/unit/fixtures.ts'
import { createDownloadMetrics } from '../../../src/download/metrics.ts'
import { PassThroughReader } from '../../../src/download/pass-through.ts'
import { makeContent, metricOf } from '../store/kit.ts'

const MIB = 1024 * 1024
const blob = makeContent('passed', 9 * MIB + 12_345)

/** A reader of `blob` through a real client and a real origin that answers with `handler`. */
async function makeReader(handler: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = await serve(handler)
  const client = clientOf(server)
  const registry = new Registry()
  const origin = {
    blobSize: async () => blob.bytes.byteLength,
    fetchBlob: (...args: Parameters<OriginClient['fetchBlob']>) => client.fetchBlob(...args),
  }
  const metrics = createDownloadMetrics(registry, () => 0)
  const source = { registry: server.host, repository: 'app' }
  const size = blob.bytes.byteLength
  const reader = new PassThroughReader({ digest: blob.digest, size, source }, { origin, metrics })
  return { reader, server, registry }
}

const whole = { start: 0, end: blob.bytes.byteLength - 1 }

async function readAll(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = []
  for await (const chunk of chunks) {
    expect(chunk.byteLength).toBeLessThanOrEqual(MIB)
    all.push(Buffer.from(chunk))
  }
  return Buffer.concat(all)
}

describe('PassThroughReader', () => {
  it('gives the whole blob in bounded requests, and counts its bytes', async () => {
    const { reader, server, registry } = await makeReader((request, response) =>
      sendBlob(request, response, blob.bytes),
    )
    expect((await readAll(reader.read(whole, NEVER))).equals(blob.bytes)).toBe(true)
    expect(server.requests.map(rangeOf)).toEqual([
      { start: 0, end: 4 * MIB - 1 },
      { start: 4 * MIB, end: 8 * MIB - 1 },
      { start: 8 * MIB, end: blob.bytes.byteLength - 1 },
    ])
    expect(await metricOf(registry, 'shoal_node_pass_through_bytes_total')).toBe(blob.bytes.byteLength)
  })

  it('gives a part of it', async () => {
    const { reader } = await makeReader((request, response) => sendBlob(request, response, blob.bytes))
    const part = await readAll(reader.read({ start: 4 * MIB - 3, end: 4 * MIB + 5 }, NEVER))
    expect(part).toEqual(blob.bytes.subarray(4 * MIB - 3, 4 * MIB + 6))
  })

  it('never gives the last part of a blob that has another digest', async () => {
    const wrong = Buffer.from(blob.bytes)
    wrong[5] = (wrong[5] ?? 0) ^ 1
    const { reader } = await makeReader((request, response) => sendBlob(request, response, wrong))
    let bytes = 0
    const reading = (async () => {
      for await (const chunk of reader.read(whole, NEVER)) bytes += chunk.byteLength
    })()
    await expect(reading).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
    expect(bytes).toBe(8 * MIB)
  })

  it('checks the whole when it goes on with a read, against what was read before', async () => {
    const { reader } = await makeReader((request, response) => sendBlob(request, response, blob.bytes))
    async function* before(bytes: Buffer) {
      yield bytes
    }
    const rest = { start: 1000, end: whole.end }
    const right = await readAll(reader.readOn(rest, before(blob.bytes.subarray(0, 1000)), NEVER))
    expect(right.equals(blob.bytes.subarray(1000))).toBe(true)
    const wrong = readAll(reader.readOn(rest, before(Buffer.alloc(1000)), NEVER))
    await expect(wrong).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
  })

  it('asks for no more while the client does not take what it has', async () => {
    const { reader, server } = await makeReader((request, response) => sendBlob(request, response, blob.bytes))
    const reading = reader.read(whole, NEVER)
    const [first] = server.requests
    expect(first).toBeUndefined()
    let bytes = 0
    while (bytes < 4 * MIB) bytes += (await reading.next()).value?.byteLength ?? 0
    expect(server.requests).toHaveLength(1)
    bytes += (await reading.next()).value?.byteLength ?? 0
    expect(server.requests).toHaveLength(2)
    await reading.return(undefined)
    expect(server.requests).toHaveLength(2)
  })

  it('gives the head of a part while its tail has not come yet, and leaves the origin with its client', async () => {
    const closed = Promise.withResolvers<void>()
    const { reader } = await makeReader((request, response) => {
      const { start, end } = rangeOf(request) ?? whole
      response.writeHead(206, { 'content-range': `bytes ${start}-${end}/${blob.bytes.byteLength}` })
      response.write(blob.bytes.subarray(start, start + 1000))
      response.once('close', () => closed.resolve())
    })
    const reading = reader.read(whole, NEVER)
    const { value } = await reading.next()
    expect(value?.byteLength).toBeGreaterThan(0)
    expect(value?.byteLength).toBeLessThanOrEqual(1000)
    await reading.return(undefined)
    await closed.promise
  })

  it('asks in longer parts where the origin answers each range with the whole', async () => {
    const { reader, server } = await makeReader((_request, response) => {
      response.writeHead(200, { 'content-length': blob.bytes.byteLength }).end(blob.bytes)
    })
    expect((await readAll(reader.read(whole, NEVER))).equals(blob.bytes)).toBe(true)
    expect(server.requests.map(rangeOf)).toEqual([
      { start: 0, end: 4 * MIB - 1 },
      { start: 4 * MIB, end: blob.bytes.byteLength - 1 },
    ])
  })

  it('ends with the error of the origin, or of the signal', async () => {
    const { reader } = await makeReader((_request, response) => response.writeHead(403).end())
    await expect(reader.read(whole, NEVER).next()).rejects.toMatchObject({ code: 'DENIED' })
    const aborted = reader.read(whole, AbortSignal.abort()).next()
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' })
  })
})
