import { type ByteRange, type Digest, formatDigest } from '@shoal/core'
import { isOriginAway, type OriginClient, OriginError, originError } from '@shoal/origin'
import type { Appender, StorageDriver, StoredFile } from '../storage/driver.ts'
import { UploadHash } from '../storage/upload-hash.ts'
import { Ring } from './ring.ts'
import { upstreamChunks } from './upstream-chunks.ts'
import type { UpstreamRepository } from './upstreams.ts'

/** A blob to fetch. */
export interface FillSource extends UpstreamRepository {
  readonly digest: Digest
  readonly sizeBytes: number
}

interface FillDependencies {
  readonly client: OriginClient
  /** Where the bytes gather, at `path`; what is appended can be read at once. */
  readonly spool: StorageDriver
  readonly path: string
  readonly signal: AbortSignal
  /** Told of bytes that came. */
  readonly received: (bytes: number) => void
}

const MIB = 1024 * 1024
/** Bytes that are gathered for one write. */
const WRITE_BYTES = MIB / 2
/** Bytes in memory: for the disk, which the upstream waits for when they are full, and for readers that keep up. */
const RING_BYTES = 2 * MIB
/** What a reader is given at once. */
const READ_BYTES = MIB / 4
/** How long a reader waits for the fill to come to where it reads, before it asks the upstream itself. */
const PATIENCE_MS = 5_000

/**
 * One blob on its way here, read by whoever asks for it while it comes. Its last byte is given out only when the whole
 * has the digest that it must have.
 */
export class BlobFill {
  readonly source: FillSource
  /** Resolves when all is there and right; rejects when that will not be. */
  readonly done: Promise<void>
  /** Once done: what the content is stored under. */
  target: Digest | undefined
  readonly #dependencies: FillDependencies
  readonly #hash: UploadHash
  readonly #waiting = new Set<() => void>()
  readonly #ring: Ring
  #writing: Promise<void> | undefined
  #appender: Appender | undefined
  #isVerified = false
  #isOver = false
  #failure: unknown
  #writeFailure: { readonly error: unknown } | undefined

  constructor(source: FillSource, dependencies: FillDependencies) {
    this.source = source
    this.#dependencies = dependencies
    this.#hash = new UploadHash(source.digest.algorithm)
    this.#ring = new Ring(Math.max(1, Math.min(RING_BYTES, source.sizeBytes)))
    this.done = this.#run()
    // Readers, and who keeps the blob, hear of it; there may be none yet.
    this.done.catch(() => {})
  }

  /** Resolves when there is something to read; rejects with what the upstream says when there will be nothing. */
  async begun(): Promise<void> {
    await this.#reaches(0, Number.POSITIVE_INFINITY)
    this.#throwIfRefused()
  }

  /** The blob for reading, whatever of it is there; undefined when its file has been moved to where it is kept. */
  async open(): Promise<StoredFile | undefined> {
    const { sizeBytes } = this.source
    const file = await this.#dependencies.spool.open(this.#dependencies.path)
    if (file === undefined) return undefined
    return { sizeBytes, chunks: (range) => this.#chunks(file, range), close: () => file.close() }
  }

  async *#chunks(file: StoredFile, { start, end }: ByteRange): AsyncGenerator<Uint8Array> {
    const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, end - start + 1))
    for (let position = start; position <= end; ) {
      const isThere = await this.#reaches(position, PATIENCE_MS)
      this.#throwIfRefused()
      const last = Math.min(end, this.#availableBytes - 1)
      const near = this.#ring.from(position, Math.min(last + 1, position + buffer.byteLength))
      const written = Math.min(last, this.#writtenBytes - 1)
      if (isThere && near.byteLength > 0) {
        position += near.byteLength
        // What is in the ring may be overwritten while it is on its way.
        buffer.set(near)
        yield buffer.subarray(0, near.byteLength)
      } else if (isThere && position <= written) {
        yield* file.chunks({ start: position, end: written })
        position = written + 1
      } else {
        // Far ahead of what came, or lost to a disk that failed.
        yield* upstreamChunks(this.#dependencies.client, this.source, { start: position, end })
        return
      }
    }
  }

  #throwIfRefused(): void {
    if (this.#failure instanceof OriginError) throw this.#failure
  }

  get #availableBytes(): number {
    return this.#isVerified ? this.source.sizeBytes : Math.min(this.#ring.end, this.source.sizeBytes - 1)
  }

  get #writtenBytes(): number {
    return this.#appender?.offset ?? 0
  }

  /** Whether the byte at `position` is there, now or within `patienceMs`; false when it will not be. */
  async #reaches(position: number, patienceMs: number): Promise<boolean> {
    const deadlineMs = performance.now() + patienceMs
    while (this.#availableBytes <= position && !this.#isOver) {
      const leftMs = deadlineMs - performance.now()
      if (leftMs <= 0 || !(await this.#changed(leftMs))) return false
    }
    return this.#availableBytes > position
  }

  /** False when nothing changes for so long. */
  #changed(withinMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = Number.isFinite(withinMs) ? setTimeout(() => settle(false), withinMs) : undefined
      const settle = (hasChanged: boolean) => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve(hasChanged)
      }
      const wake = () => settle(true)
      this.#waiting.add(wake)
    })
  }

  async #run(): Promise<void> {
    const { spool, path } = this.#dependencies
    try {
      this.#appender = await spool.append(path)
      try {
        await this.#fetch()
        this.#verify()
        this.#wake()
        await this.#write(1)
        this.#throwIfNotWritten()
        await this.#appender.commit()
      } finally {
        await this.#appender.close()
      }
    } catch (error) {
      this.#failure = error
      await spool.remove(path).catch(() => {})
      throw error
    } finally {
      this.#isOver = true
      this.#wake()
    }
  }

  /** Goes on where an upstream broke off, as long as each time brings something. */
  async #fetch(): Promise<void> {
    const { client, signal } = this.#dependencies
    const { registry, repository, digest, sizeBytes } = this.source
    while (this.#hash.offset < sizeBytes) {
      const start = this.#hash.offset
      const call = { registry, repository, digest: formatDigest(digest), size: sizeBytes, signal }
      try {
        await client.fetchBlob({ ...call, start, end: sizeBytes - 1 }, (chunk) => this.#take(chunk))
      } catch (error) {
        if (!isOriginAway(error) || this.#hash.offset === start) throw error
      }
    }
  }

  #take(chunk: Uint8Array): Promise<void> | undefined {
    this.#throwIfNotWritten()
    this.#dependencies.received(chunk.byteLength)
    this.#hash.update(chunk)
    return this.#store(chunk)
  }

  /** Undefined when all of it has found room. */
  #store(chunk: Uint8Array): Promise<void> | undefined {
    const stored = this.#ring.add(chunk, this.#writtenBytes)
    this.#wake()
    this.#writing ??= this.#write(WRITE_BYTES)
    if (stored === chunk.byteLength) return undefined
    return this.#writing.then(() => {
      this.#throwIfNotWritten()
      return this.#store(chunk.subarray(stored))
    })
  }

  #throwIfNotWritten(): void {
    if (this.#writeFailure !== undefined) throw this.#writeFailure.error
  }

  /** Writes as long as so many bytes wait for it. Does not reject: what fails is told to the next chunk. */
  async #write(leastBytes: number): Promise<void> {
    await this.#writing
    try {
      while (this.#ring.end - this.#writtenBytes >= leastBytes) {
        await this.#appender?.write([this.#ring.from(this.#writtenBytes)])
      }
    } catch (error) {
      this.#writeFailure ??= { error }
    } finally {
      this.#writing = undefined
    }
  }

  #verify(): void {
    const { registry, repository, digest } = this.source
    const found = this.#hash.digest(digest.algorithm)
    if (found.hex !== digest.hex) {
      throw originError(
        'DIGEST_MISMATCH',
        { registry, repository },
        `the blob should be ${formatDigest(digest)} but is ${formatDigest(found)}: the upstream, or a proxy before it, alters it`,
      )
    }
    this.target = this.#hash.digest('sha256')
    this.#isVerified = true
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}
