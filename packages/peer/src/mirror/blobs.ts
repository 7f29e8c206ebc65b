import type { OutgoingHttpHeaders } from 'node:http'
import { answerContent, type BodyPart, type Logger, withDeadline, writeBody } from '@shoal/core'
import { type OriginClient, originError } from '@shoal/origin'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Downloads } from '../download/downloads.ts'
import type { BlobReader } from '../download/reader.ts'
import type { OriginReader, Rights } from '../rights/rights.ts'
import { FirstByte } from './first-byte.ts'
import type { MirrorMetrics } from './metrics.ts'
import { clientGone, hasNoBody, sendHead } from './reply.ts'
import { type SendSlot, SendSlots } from './send-slots.ts'
import type { Upstream } from './upstream.ts'

/** The media type of every blob: what one is its manifest says. */
const BLOB_TYPE = 'application/octet-stream'
/** Answers with a blob's bytes that are under way at once; a runtime asks for a handful. */
const MOST_SENDS = 128

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
  readonly #rights: Rights
  readonly #metrics: MirrorMetrics
  readonly #log: Logger
  readonly #now: () => number
  readonly #firstByteTimeoutMs: number
  readonly #firstByte: FirstByte
  readonly #slots: SendSlots

  constructor(
    options: { readonly firstByteTimeoutMs: number },
    dependencies: {
      downloads: Downloads
      origin: OriginClient
      rights: Rights
      metrics: MirrorMetrics
      log: Logger
      now: () => number
    },
  ) {
    const { log, now } = dependencies
    this.#downloads = dependencies.downloads
    this.#origin = dependencies.origin
    this.#rights = dependencies.rights
    this.#metrics = dependencies.metrics
    this.#log = log
    this.#now = now
    this.#slots = new SendSlots(MOST_SENDS, now)
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
    const sizeBytes = await this.#checkRights(wish, signal)
    const content = { digest: wish.digest, sizeBytes, mediaType: BLOB_TYPE, hasRanges: true }
    const answer = answerContent(request, content)
    if (hasNoBody(answer)) return sendHead(reply, answer)
    const { slot, first, rest } = await this.#firstByte.within(wish, beganMs, signal, async (isWanted) => {
      const reader = await this.#open(wish, sizeBytes, isWanted)
      closeWith(reply, reader)
      isWanted.throwIfAborted()
      const bytes = readParts(reader, answer.body, isWanted)
      // The first byte of the blob is awaited before the head is sent, so that a failure is still an honest answer.
      const first = await bytes.next()
      // Whoever waits for a slow origin takes no turn from others.
      const slot = await this.#slots.begin(() => reply.raw.destroy(), isWanted)
      endWith(reply, slot)
      return { slot, first, rest: bytes }
    })
    this.#metrics.firstByteSeconds.observe((this.#now() - beganMs) / 1000)
    reply.code(answer.status).headers(answer.headers)
    await this.#send(reply, wish.digest, slot, first, rest)
    return reply
  }

  /** Sends the body, a chunk once the one before is on its way; what fails half-way cuts the connection. */
  async #send(
    reply: FastifyReply,
    digest: string,
    slot: SendSlot,
    first: IteratorResult<Uint8Array>,
    rest: AsyncGenerator<Uint8Array>,
  ): Promise<void> {
    reply.hijack()
    const response = reply.raw
    response.writeHead(reply.statusCode, reply.getHeaders() as OutgoingHttpHeaders)
    try {
      for (let chunk = first; chunk.done !== true; chunk = await rest.next()) {
        slot.writing()
        if (!(await writeBody(response, chunk.value))) return
        slot.written()
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

  /**
   * Bytes of the blob by the word of its origin, which lets this client read it: by what it said a short while ago, or
   * asked now. A yes of before stands in for an origin that is away.
   */
  async #checkRights(wish: BlobMirrorRequest, signal: AbortSignal): Promise<number> {
    const { contents } = this.#rights
    const reader = readerOf(wish)
    const known = contents.find(reader, wish.digest)
    if (known !== undefined && contents.isFresh(known) && this.#rights.isGranted(reader)) return known.size
    const mayStandIn = known !== undefined && this.#rights.mayStandIn(reader)
    // Whoever may be served without its answer must not spend the whole time on that.
    const timeoutMs = mayStandIn ? this.#firstByteTimeoutMs / 2 : this.#firstByteTimeoutMs
    try {
      return await this.#originSize(wish, signal, timeoutMs)
    } catch (error) {
      if (known !== undefined && this.#rights.standsIn(reader, error)) return known.size
      throw error
    }
  }

  async #originSize(wish: BlobMirrorRequest, signal: AbortSignal, timeoutMs: number): Promise<number> {
    const inTime = withDeadline(timeoutMs, signal)
    return this.#rights.confirm(readerOf(wish), wish.digest, inTime).catch((cause: unknown) => {
      if (!inTime.aborted || signal.aborted) throw cause
      throw originError('STALLED', wish.upstream, `the origin did not answer in ${timeoutMs} ms`, { cause })
    })
  }

  /** Asks the origin for one byte of the blob, or, of an empty one, for its size. */
  async #askOrigin(wish: BlobMirrorRequest, signal: AbortSignal): Promise<void> {
    const { upstream, digest, authorization } = wish
    const call = { ...upstream, digest, authorization, signal }
    const size = this.#rights.contents.find(upstream, digest)?.size ?? 0
    if (size === 0) await this.#origin.headBlob(call)
    else await this.#origin.fetchBlob({ ...call, start: 0, end: 0, size }, () => {})
  }

  #open(
    { upstream, digest, authorization }: BlobMirrorRequest,
    size: number,
    signal: AbortSignal,
  ): Promise<BlobReader> {
    const source = { ...upstream, ...(authorization === undefined ? {} : { authorization }) }
    return this.#downloads.open({ digest, source, size }, signal)
  }
}

function readerOf({ upstream, authorization }: BlobMirrorRequest): OriginReader {
  return { ...upstream, authorization }
}

/** Ends the slot when the answer is over, however it ends. */
function endWith(reply: FastifyReply, slot: SendSlot): void {
  if (reply.raw.destroyed) slot.end()
  else reply.raw.once('close', () => slot.end())
}

/** Closes the reader when the answer is over, however it ends; a stream that was never read would not. */
function closeWith(reply: FastifyReply, reader: BlobReader): void {
  if (reply.raw.destroyed) void reader.close()
  else reply.raw.once('close', () => void reader.close())
}

/** The parts of a body in turn, what frames them together with the first bytes behind it. */
async function* readParts(
  reader: BlobReader,
  body: readonly BodyPart[],
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let frame: Uint8Array | undefined
  for (const part of body) {
    if (part instanceof Uint8Array) {
      frame = part
      continue
    }
    for await (const bytes of reader.read(part, signal)) {
      if (frame !== undefined) yield frame
      frame = undefined
      yield bytes
    }
  }
  if (frame !== undefined) yield frame
}
