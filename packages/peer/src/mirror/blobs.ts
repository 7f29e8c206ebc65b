import type { OutgoingHttpHeaders } from 'node:http'
import { type ByteRange, type Logger, parseRange, withDeadline, writeBody } from '@shoal/core'
import { isOriginAway, type OriginClient, originError } from '@shoal/origin'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Downloads } from '../download/downloads.ts'
import type { BlobReader } from '../download/reader.ts'
import type { Access } from './access.ts'
import { failure } from './failure.ts'
import { FirstByte } from './first-byte.ts'
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
  readonly #now: () => number
  readonly #firstByteTimeoutMs: number
  readonly #firstByte: FirstByte

  constructor(
    options: { readonly firstByteTimeoutMs: number },
    dependencies: {
      downloads: Downloads
      origin: OriginClient
      access: Access
      metrics: MirrorMetrics
      log: Logger
      now: () => number
    },
  ) {
    const { log, now } = dependencies
    this.#downloads = dependencies.downloads
    this.#origin = dependencies.origin
    this.#access = dependencies.access
    this.#metrics = dependencies.metrics
    this.#log = log
    this.#now = now
    this.#firstByteTimeoutMs = options.firstByteTimeoutMs
    this.#firstByte = new FirstByte(options.firstByteTimeoutMs, {
      movedMs: (digest) => this.#downloads.movedMs(digest),
      askOrigin: (wish, signal) => this.#askOrigin(wish, signal),
      log,
      now,
    })
  }

  /** Answers GET or HEAD. Throws what `failureOf` knows before the first byte is sent. */
  async serve(wish: BlobMirrorRequest, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const signal = clientGone(reply)
    const beganMs = this.#now()
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
    const begun = await this.#firstByte.within(wish, beganMs, signal, async (isWanted) => {
      const reader = await this.#open(wish, size)
      closeWith(reply, reader)
      isWanted.throwIfAborted()
      const range = this.#rangeOf(request, reply, reader.size)
      if (range === undefined) return undefined
      const bytes = reader.read(range, isWanted)
      // The first byte is awaited before the head is sent, so that a failure is still an honest answer.
      return { range, bytes, first: await bytes.next() }
    })
    if (begun === undefined) return reply
    const { range, bytes, first } = begun
    this.#metrics.firstByteSeconds.observe((this.#now() - beganMs) / 1000)
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
    const wasGranted = isContent && this.#access.wasGranted(upstream, authorization)
    // Whoever may be served without its answer must not spend the whole time on that.
    const timeoutMs = wasGranted ? this.#firstByteTimeoutMs / 2 : this.#firstByteTimeoutMs
    try {
      return await this.#originSize(wish, signal, timeoutMs)
    } catch (error) {
      if (isOriginAway(error) && wasGranted) return undefined
      throw error
    }
  }

  async #originSize(
    { upstream, digest, authorization }: BlobMirrorRequest,
    signal: AbortSignal,
    timeoutMs = this.#firstByteTimeoutMs,
  ): Promise<number> {
    const inTime = withDeadline(timeoutMs, signal)
    const { size } = await this.#origin
      .headBlob({ ...upstream, digest, authorization, signal: inTime })
      .catch((cause: unknown) => {
        if (!inTime.aborted || signal.aborted) throw cause
        throw originError('STALLED', upstream, `the origin did not answer in ${timeoutMs} ms`, { cause })
      })
    this.#access.grant(upstream, authorization)
    this.#access.addContent(upstream, digest, size)
    return size
  }

  /** Asks the origin for one byte of the blob, or, while that can not be asked for, for its size. */
  async #askOrigin({ upstream, digest, authorization }: BlobMirrorRequest, signal: AbortSignal): Promise<void> {
    const call = { ...upstream, digest, authorization, signal }
    const size = this.#downloads.sizeOf(digest) ?? this.#access.sizeOf(upstream, digest) ?? 0
    if (size === 0) await this.#origin.headBlob(call)
    else await this.#origin.fetchBlob({ ...call, start: 0, end: 0, size }, () => {})
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
