import { randomUUID } from 'node:crypto'
import { type Digest, type DigestAlgorithm, formatDigest } from '@shoal/core'
import { RegistryError } from '../errors.ts'
import type { BlobStore } from './blobs.ts'
import { repositoriesWithUploads } from './catalog.ts'
import type { Appender, StorageDriver } from './driver.ts'
import { uploadDataPath, uploadPath, uploadStartedAtPath, uploadsPath } from './paths.ts'
import { Holds } from './turns.ts'
import { UploadHash } from './upload-hash.ts'

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/** Bytes gathered for one write to disk; one such batch is being written while the next one arrives. */
const BATCH_BYTES = 512 * 1024
/** Uploads whose digest is kept in memory between two requests; an upload beyond is read again when it is committed. */
const MAX_HASHES = 4096

/** Bytes on their way into an upload. */
export interface UploadChunk {
  readonly body: AsyncIterable<Uint8Array>
  /** Where the client says the bytes belong; undefined when it streams. Both ends inclusive. */
  readonly range?: { readonly start: number; readonly end: number } | undefined
}

/** Who is asked and told about uploads. */
export interface UploadObserver {
  readonly received: (bytes: number) => void
  /** Gives what throws when an upload to the repository has more bytes than it may; the upload is gone then. */
  readonly limitOf?: (repository: string) => Promise<(sizeBytes: number) => void>
}

/**
 * Unfinished uploads. They are files, so that they outlive the process. One request at a time writes to an upload;
 * a second one is refused.
 */
export class UploadStore {
  readonly #driver: StorageDriver
  readonly #blobs: BlobStore
  readonly #observer: UploadObserver
  readonly #holds: Pick<Holds, 'tryTake'>
  readonly #hashes = new Map<string, UploadHash>()

  /** @param holds who writes to which upload */
  constructor(
    driver: StorageDriver,
    blobs: BlobStore,
    observer: UploadObserver,
    holds: Pick<Holds, 'tryTake'> = new Holds(),
  ) {
    this.#driver = driver
    this.#blobs = blobs
    this.#observer = observer
    this.#holds = holds
  }

  /**
   * Begins an upload and returns its id.
   * @param algorithm the digest that the client is going to name, if it said so
   * @param now milliseconds since 1970
   */
  async start(repository: string, algorithm: DigestAlgorithm = 'sha256', now = Date.now()): Promise<string> {
    const id = randomUUID()
    const startedAt = await this.#driver.append(uploadStartedAtPath(repository, id))
    try {
      await startedAt.write([Buffer.from(new Date(now).toISOString().replace(/\.\d+Z$/, 'Z'))])
    } finally {
      await startedAt.close()
    }
    this.#keepHash(uploadPath(repository, id), new UploadHash(algorithm))
    return id
  }

  /** Bytes that an upload has. Throws RegistryError `BLOB_UPLOAD_UNKNOWN`. */
  async offset(repository: string, id: string): Promise<number> {
    await this.#mustExist(repository, id)
    return (await this.#driver.stat(uploadDataPath(repository, id)))?.sizeBytes ?? 0
  }

  /**
   * Appends to an upload and returns the bytes that it then has. When the client leaves mid-way, what came stays.
   * @throws RegistryError `RANGE_INVALID` when the chunk does not begin where the upload ends
   */
  async append(repository: string, id: string, chunk: UploadChunk): Promise<number> {
    return this.#alone(repository, id, async (key) => {
      const appender = await this.#driver.append(uploadDataPath(repository, id))
      try {
        await this.#receive(repository, key, appender, chunk)
        return appender.offset
      } finally {
        await appender.close()
      }
    })
  }

  /**
   * Appends the last bytes, if any, checks the digest and makes the upload a blob of the repository. Nothing has a
   * final name before its bytes are on disk and proven right. Returns the blob's size in bytes.
   * @throws RegistryError `DIGEST_INVALID`, and the upload is gone; `RANGE_INVALID`, and it stays
   */
  async commit(repository: string, id: string, digest: Digest, chunk?: UploadChunk): Promise<number> {
    return this.#alone(repository, id, async (key) => {
      const path = uploadDataPath(repository, id)
      const appender = await this.#driver.append(path)
      let target: Digest
      try {
        // Now the client has said which digest it means: what has not begun to arrive need not be read twice.
        if (appender.offset === 0) this.#keepHash(key, new UploadHash(digest.algorithm))
        if (chunk !== undefined) await this.#receive(repository, key, appender, chunk)
        await appender.commit()
        const hash = await this.#hashOf(key, path, appender.offset, digest.algorithm)
        const received = hash.digest(digest.algorithm)
        if (received.hex !== digest.hex) {
          await this.#forget(key)
          throw wrongDigest(digest, received, appender.offset)
        }
        target = hash.digest('sha256')
      } finally {
        await appender.close()
      }
      await this.#blobs.adopt(repository, digest, target, { path, sizeBytes: appender.offset })
      await this.#forget(key)
      return appender.offset
    })
  }

  /** Throws an upload away. */
  async cancel(repository: string, id: string): Promise<void> {
    await this.#alone(repository, id, (key) => this.#forget(key))
  }

  /** Throws away the uploads that began before `startedBeforeMs` (since 1970); returns how many. */
  async purge(startedBeforeMs: number, signal: AbortSignal): Promise<number> {
    let purged = 0
    for await (const repository of repositoriesWithUploads(this.#driver)) {
      for (const id of await this.#driver.list(uploadsPath(repository))) {
        if (signal.aborted) return purged
        const key = uploadPath(repository, id)
        if ((await this.#startedAt(repository, id)) >= startedBeforeMs) continue
        const hold = await this.#holds.tryTake(key)
        if (hold === undefined) continue
        await this.#forget(key).finally(() => hold.release())
        purged++
      }
    }
    return purged
  }

  /** When an upload began, as it says, else as its folder does. */
  async #startedAt(repository: string, id: string): Promise<number> {
    const text = await this.#driver.read(uploadStartedAtPath(repository, id), 128)
    const said = text === undefined ? Number.NaN : Date.parse(new TextDecoder().decode(text))
    if (!Number.isNaN(said)) return said
    return (await this.#driver.stat(uploadPath(repository, id)))?.modifiedAtMs ?? Number.POSITIVE_INFINITY
  }

  async #receive(repository: string, key: string, appender: Appender, { body, range }: UploadChunk): Promise<void> {
    const limit = await this.#observer.limitOf?.(repository)
    if (range !== undefined && range.start !== appender.offset) throw outOfOrder(range.start, appender.offset)
    const known = this.#hashes.get(key)
    const hash =
      known?.offset === appender.offset ? known : appender.offset === 0 ? new UploadHash('sha256') : undefined
    // Taken out until all is written: a failed write leaves no digest that runs ahead of the file.
    this.#hashes.delete(key)
    let sizeBytes = appender.offset
    let room = range === undefined ? Number.POSITIVE_INFINITY : range.end - range.start + 1
    let batch: Uint8Array[] = []
    let batchBytes = 0
    let writing: Promise<void> = Promise.resolve()
    const flush = async () => {
      await writing
      const chunks = batch
      batch = []
      batchBytes = 0
      writing = appender.write(chunks)
      writing.catch(() => {})
      for (const chunk of chunks) hash?.update(chunk)
    }
    let failure: { readonly error: unknown } | undefined
    try {
      for await (const bytes of body) {
        this.#observer.received(bytes.byteLength)
        sizeBytes += bytes.byteLength
        limit?.(sizeBytes)
        if (bytes.byteLength > room) throw wrongSize('more')
        room -= bytes.byteLength
        batch.push(bytes)
        batchBytes += bytes.byteLength
        if (batchBytes >= BATCH_BYTES) await flush()
      }
      if (range !== undefined && room > 0) throw wrongSize('fewer')
    } catch (error) {
      failure = { error }
    }
    await flush()
    await writing
    if (hash !== undefined && hash.offset === appender.offset) this.#keepHash(key, hash)
    if (failure !== undefined) throw failure.error
  }

  /** The digest of the upload's `size` bytes: the one taken while they came, else by reading them again. */
  async #hashOf(key: string, path: string, size: number, algorithm: DigestAlgorithm): Promise<UploadHash> {
    const streamed = this.#hashes.get(key)
    if (streamed?.offset === size && streamed.has(algorithm)) return streamed
    const hash = new UploadHash(algorithm)
    const file = size === 0 ? undefined : await this.#driver.open(path)
    if (file === undefined) return hash
    try {
      for await (const bytes of file.chunks({ start: 0, end: size - 1 })) hash.update(bytes)
    } finally {
      await file.close()
    }
    return hash
  }

  async #alone<T>(repository: string, id: string, work: (key: string) => Promise<T>): Promise<T> {
    const key = uploadPath(repository, id)
    const hold = await this.#holds.tryTake(key)
    if (hold === undefined) {
      throw new RegistryError(
        'BLOB_UPLOAD_INVALID',
        `another request is writing to upload ${id}: wait until it is done, then ask for the upload's status with GET`,
      )
    }
    try {
      await this.#mustExist(repository, id)
      return await work(key)
    } catch (error) {
      // What may not become a blob is not kept for a week.
      if (error instanceof RegistryError && error.code === 'DENIED') await this.#forget(key).catch(() => {})
      throw error
    } finally {
      await hold.release()
    }
  }

  async #mustExist(repository: string, id: string): Promise<void> {
    if (ID.test(id) && (await this.#driver.stat(uploadStartedAtPath(repository, id))) !== undefined) return
    throw new RegistryError(
      'BLOB_UPLOAD_UNKNOWN',
      `there is no upload ${id.slice(0, 64)} in ${repository}: it was finished, cancelled or expired; begin a new one with POST /v2/${repository}/blobs/uploads/`,
    )
  }

  async #forget(key: string): Promise<void> {
    this.#hashes.delete(key)
    await this.#driver.remove(key)
  }

  #keepHash(key: string, hash: UploadHash): void {
    this.#hashes.set(key, hash)
    if (this.#hashes.size <= MAX_HASHES) return
    const [oldest] = this.#hashes.keys()
    if (oldest !== undefined) this.#hashes.delete(oldest)
  }
}

function outOfOrder(start: number, offset: number): RegistryError {
  return new RegistryError(
    'RANGE_INVALID',
    `the chunk begins at byte ${start} but the upload has ${offset} bytes: send the bytes from ${offset} on`,
    { headers: { range: `0-${Math.max(0, offset - 1)}` } },
  )
}

function wrongSize(what: 'more' | 'fewer'): RegistryError {
  return new RegistryError(
    'SIZE_INVALID',
    `the chunk has ${what} bytes than its Content-Range says: ask for the upload's status with GET and continue from there`,
  )
}

function wrongDigest(claimed: Digest, received: Digest, sizeBytes: number): RegistryError {
  return new RegistryError(
    'DIGEST_INVALID',
    `the ${sizeBytes} bytes received have the digest ${formatDigest(received)}, not ${formatDigest(claimed)}: begin a new upload`,
    { data: { digest: formatDigest(claimed), received: formatDigest(received) } },
  )
}
