import type { OutgoingHttpHeaders } from 'node:http'
import { type ByteRange, type Logger, parseRange, writeBody } from '@shoal/core'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Downloads } from '../download/downloads.ts'
import type { BlobReader } from '../download/reader.ts'
import type { OriginClient } from '../origin/client.ts'
import type { Access } from './access.ts'
import { failure, isOriginAway } from './failure.ts'
import type { MirrorMetrics } from './metrics.ts'
import { clientGone, sendFailure } from './reply.ts'
import type { Upstream } from './upstream.ts'

/** One client's wish. */
export interface BlobMirrorRequest {
  readonly upstream: Upstream
  readonly digest: string
  readonly authorization: string | undefined
}

/** Blobs through the download engine. */
export class Blobs {
  readonly #downloads: Downloads
  readonly #origin: OriginClient
  readonly #access: Access
  readonly #metrics: MirrorMetrics
  readonly #log: Logger

  constructor(dependencies: {
    downloads: Downloads
    origin: OriginClient
    access: Access
    metrics: MirrorMetrics
    log: Logger
  }) {
    this.#downloads = dependencies.downloads
    this.#origin = dependencies.origin
    this.#access = dependencies.access
    this.#metrics = dependencies.metrics
    this.#log = dependencies.log
  }

  /** Answers GET or HEAD. Throws what `failureOf` knows before the first byte is sent. */
  async serve(wish: BlobMirrorRequest, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const signal = clientGone(reply)
    const beganMs = performance.now()
    const originSize = await this.#checkAccess(wish, signal)
    const known = originSize ?? this.#access.sizeOf(wish.upstream, wish.digest)
    const size = this.#downloads.sizeOf(wish.digest) ?? known
    reply
      .header('docker-content-digest', wish.digest)
      .header('accept-ranges', 'bytes')
      .header('etag', `"${wish.digest}"`)
    if (request.method === 'HEAD') {
      const length = size ?? (await this.#originSize(wish, signal))
      return reply.header('content-length', length).type('application/octet-stream').send()
    }
    const reader = await this.#open(wish, size)
    closeWith(reply, reader)
    const range = this.#rangeOf(request, reply, reader.size)
    if (range === undefined) return reply
    const bytes = reader.read(range, signal)
    // The first byte is awaited before the head is sent, so that a failure is still an honest answer.
    const first = await bytes.next()
    this.#metrics.firstByteSeconds.observe((performance.now() - beganMs) / 1000)
    reply.header('content-length', range.end - range.start + 1).type('application/octet-stream')
    await this.#send(reply, wish.digest, first, bytes)
    return reply
  }

  /** Sends the body, a chunk once the one before is on its way; what fails half-way cuts the connection. */
  async #send(
    reply: FastifyReply,
    digest: string,
    first: IteratorResult<Buffer>,
    rest: AsyncGenerator<Buffer>,
  ): Promise<void> {
    reply.hijack()
    const response = reply.raw
    response.writeHead(reply.statusCode, reply.getHeaders() as OutgoingHttpHeaders)
    try {
      for (let chunk = first; chunk.done !== true; chunk = await rest.next()) {
        if (!(await writeBody(response, chunk.value))) return
        this.#metrics.bytesSent.inc(chunk.value.byteLength)
      }
      response.end()
    } catch (error) {
      if (response.destroyed) return
      this.#log.warn({ digest, err: error }, 'a blob broke off on its way to the client')
      response.destroy()
    } finally {
      await rest.return(undefined)
    }
  }

  /** The range to send, its headers set; undefined when an error was sent instead. */
  #rangeOf(request: FastifyRequest, reply: FastifyReply, size: number): ByteRange | undefined {
    const wanted = parseRange(request.headers.range, size)
    if (wanted.kind === 'whole') {
      reply.code(200)
      return { start: 0, end: size - 1 }
    }
    if (wanted.kind === 'part') {
      const { start, end } = wanted.range
      reply.code(206).header('content-range', `bytes ${start}-${end}/${size}`)
      return wanted.range
    }
    const why =
      wanted.kind === 'malformed'
        ? 'write bytes=first-last, bytes=first- or bytes=-count'
        : `the blob has ${size} bytes`
    const message = `the range "${request.headers.range?.slice(0, 100)}" can not be served: ${why}`
    sendFailure(reply, failure('RANGE_INVALID', message, { 'content-range': `bytes */${size}` }))
    return undefined
  }

  /** Asks the origin whether this client may read, unless it said so a short while ago; the size if it was asked. */
  async #checkAccess(wish: BlobMirrorRequest, signal: AbortSignal): Promise<number | undefined> {
    const { upstream, authorization, digest } = wish
    const isContent = this.#access.isContent(upstream, digest)
    if (isContent && this.#access.isGranted(upstream, authorization)) return undefined
    try {
      return await this.#originSize(wish, signal)
    } catch (error) {
      if (isOriginAway(error) && isContent && this.#access.wasGranted(upstream, authorization)) return undefined
      throw error
    }
  }

  async #originSize({ upstream, digest, authorization }: BlobMirrorRequest, signal: AbortSignal): Promise<number> {
    const { size } = await this.#origin.headBlob({ ...upstream, digest, authorization, signal })
    this.#access.grant(upstream, authorization)
    this.#access.addContent(upstream, digest, size)
    return size
  }

  #open({ upstream, digest, authorization }: BlobMirrorRequest, size: number | undefined): Promise<BlobReader> {
    const source = { ...upstream, ...(authorization === undefined ? {} : { authorization }) }
    return this.#downloads.open({ digest, source, ...(size === undefined ? {} : { size }) })
  }
}

/** Closes the reader when the answer is over, however it ends; a stream that was never read would not. */
function closeWith(reply: FastifyReply, reader: BlobReader): void {
  if (reply.raw.destroyed) void reader.close()
  else reply.raw.once('close', () => void reader.close())
}
