import { type ByteRange, createDigestHash, parseDigest } from '@shoal/core'
import type { OriginBlobs, OriginSource } from './dependencies.ts'
import { DownloadError } from './errors.ts'
import type { DownloadMetrics } from './metrics.ts'
import type { BlobReader } from './reader.ts'

const CHUNK_BYTES = 512 * 1024
/** Asked for in one request, and so the most that waits in memory for a slow client. */
const PART_BYTES = 4 * 1024 * 1024
/** The same for an origin that answers every range with the whole blob: fewer parts, as each costs all before it. */
const LONG_PART_BYTES = 32 * 1024 * 1024

/** The blob to pass through. */
interface PassedBlob {
  readonly digest: string
  readonly size: number
  readonly source: OriginSource
}

/**
 * A reader that keeps nothing: it hands on what the origin sends, a bounded part at a time. Of a read of the whole
 * blob the last part is handed out only when the digest is right, so a client can not take wrong bytes for a complete
 * answer. A read of a part can not be checked, as OCI gives a digest for the whole only.
 */
export class PassThroughReader implements BlobReader {
  readonly digest: string
  readonly size: number
  readonly #source: OriginSource
  readonly #origin: OriginBlobs
  readonly #metrics: DownloadMetrics
  #partBytes = PART_BYTES

  constructor(blob: PassedBlob, dependencies: { origin: OriginBlobs; metrics: DownloadMetrics }) {
    this.digest = blob.digest
    this.size = blob.size
    this.#source = blob.source
    this.#origin = dependencies.origin
    this.#metrics = dependencies.metrics
  }

  read(range: ByteRange, signal: AbortSignal): AsyncGenerator<Buffer> {
    return this.readOn(range, undefined, signal)
  }

  /**
   * Goes on with a read that began elsewhere.
   * @param before all bytes of the blob before `range`, to check the whole; undefined when they are not to be had
   */
  async *readOn(
    range: ByteRange,
    before: AsyncIterable<Uint8Array> | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Buffer> {
    const { algorithm, hex } = parseDigest(this.digest)
    const isWhole = range.end === this.size - 1 && (range.start === 0 || before !== undefined)
    const hash = isWhole ? createDigestHash(algorithm) : undefined
    if (hash !== undefined && before !== undefined) for await (const chunk of before) hash.update(chunk)
    for (let start = range.start; start <= range.end; ) {
      const end = Math.min(range.end, start + this.#partBytes - 1)
      const isHeldBack = hash !== undefined && end === range.end
      const held: Buffer[] = []
      for await (const chunk of this.#part({ start, end }, signal)) {
        hash?.update(chunk)
        if (isHeldBack) held.push(chunk)
        else yield this.#counted(chunk)
      }
      start = end + 1
      if (!isHeldBack) continue
      this.#check(hash.digest('hex'), hex)
      for (const chunk of held) yield this.#counted(chunk)
    }
    if (this.size === 0) this.#check(createDigestHash(algorithm).digest('hex'), hex)
  }

  async close(): Promise<void> {}

  #check(found: string, wanted: string): void {
    if (found === wanted) return
    const message = `the origin's bytes for ${this.digest} have another digest, ${found}: the answer was broken off`
    throw new DownloadError('DIGEST_MISMATCH', message)
  }

  #counted(chunk: Buffer): Buffer {
    this.#metrics.passThroughBytes.inc(chunk.byteLength)
    return chunk
  }

  /** One part, in chunks as they come; the buffer holds all of it, so the origin never waits for the client. */
  async *#part({ start, end }: ByteRange, signal: AbortSignal): AsyncGenerator<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(end - start + 1)
    const leaving = new AbortController()
    let filled = 0
    let isOver = false
    let wake = () => {}
    const { digest, size } = this
    const call = { ...this.#source, digest, size, start, end, signal: AbortSignal.any([signal, leaving.signal]) }
    const fetching = this.#origin.fetchBlob(call, (chunk) => {
      filled += chunk.copy(buffer, filled)
      wake()
    })
    const ended = () => {
      isOver = true
      wake()
    }
    fetching.then(ended, ended)
    try {
      for (let taken = 0; ; ) {
        while (taken < filled) {
          const from = taken
          taken = Math.min(filled, taken + CHUNK_BYTES)
          yield buffer.subarray(from, taken)
        }
        if (isOver) break
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      const { rangesIgnored } = await fetching
      if (rangesIgnored) this.#partBytes = LONG_PART_BYTES
    } finally {
      leaving.abort()
      await fetching.catch(() => {})
    }
  }
}
