import { type ByteRange, type Digest, formatDigest } from '@shoal/core'
import { type OriginClient, OriginError, originError } from '@shoal/origin'
import type { Appender, StorageDriver, StoredFile } from '../storage/driver.ts'
import { UploadHash } from '../storage/upload-hash.ts'
import { isAway } from './failure.ts'
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

/** Bytes that may wait for the disk before the upstream does. */
const MAX_WAITING_BYTES = 1024 * 1024
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
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  #writing: Promise<void> | undefined
  #appender: Appender | undefined
  #availableBytes = 0
  #isOver = false
  #failure: unknown
  #writeFailure: { readonly error: unknown } | undefined

  constructor(source: FillSource, dependencies: FillDependencies) {
    this.source = source
    this.#dependencies = dependencies
    this.#hash = new UploadHash(source.digest.algorithm)
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
    for (let position = start; position <= end; ) {
      if (!(await this.#reaches(position, PATIENCE_MS))) {
        this.#throwIfRefused()
        const { client } = this.#dependencies
        yield* upstreamChunks(client, this.source, { start: position, end })
        return
      }
      const last = Math.min(end, this.#availableBytes - 1)
      yield* file.chunks({ start: position, end: last })
      position = last + 1
    }
  }

  #throwIfRefused(): void {
    if (this.#failure instanceof OriginError) throw this.#failure
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
        await this.#appender.commit()
      } finally {
        await this.#appender.close()
      }
      this.#verify()
      this.#has(this.source.sizeBytes)
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
        if (!isAway(error) || this.#hash.offset === start) throw error
      } finally {
        await this.#writing
      }
    }
    this.#throwIfNotWritten()
  }

  #take(chunk: Uint8Array): Promise<void> | undefined {
    this.#throwIfNotWritten()
    this.#dependencies.received(chunk.byteLength)
    this.#hash.update(chunk)
    this.#queue.push(chunk)
    this.#queuedBytes += chunk.byteLength
    this.#writing ??= this.#writeAll()
    return this.#queuedBytes > MAX_WAITING_BYTES ? this.#writing : undefined
  }

  #throwIfNotWritten(): void {
    if (this.#writeFailure !== undefined) throw this.#writeFailure.error
  }

  /** Does not reject: what fails is told to the next chunk. */
  async #writeAll(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        const chunks = this.#queue
        this.#queue = []
        this.#queuedBytes = 0
        await this.#appender?.write(chunks)
        this.#has(Math.min(this.#appender?.offset ?? 0, this.source.sizeBytes - 1))
      }
    } catch (error) {
      this.#writeFailure = { error }
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
  }

  #has(bytes: number): void {
    this.#availableBytes = bytes
    this.#wake()
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}
