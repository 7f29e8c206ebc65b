import { randomUUID } from 'node:crypto'
import { type Digest, errorChain, formatDigest, type Logger, type Startable } from '@shoal/core'
import type { OriginClient } from '@shoal/origin'
import { RegistryError } from '../errors.ts'
import type { BlobStore } from '../storage/blobs.ts'
import type { StorageDriver, StoredFile } from '../storage/driver.ts'
import type { UploadStore } from '../storage/uploads.ts'
import { upstreamError } from './failure.ts'
import { BlobFill, type FillSource } from './fill.ts'
import type { ProxyMetrics } from './metrics.ts'
import { SingleFlight } from './single-flight.ts'
import { upstreamFile } from './upstream-chunks.ts'
import type { Upstreams } from './upstreams.ts'

interface ProxiedBlobsDependencies {
  readonly upstreams: Upstreams
  /** For what is small. */
  readonly client: OriginClient
  /** For bodies of blobs, which have connections of their own: they may take all there are. */
  readonly bodies: OriginClient
  readonly blobs: BlobStore
  readonly uploads: UploadStore
  /** A folder of this machine, in which blobs gather. */
  readonly spool: StorageDriver
  /** Whether the content is kept in the same folder, so that a whole blob need only be moved. */
  readonly isSpoolStorage: boolean
  readonly mayKeep: () => boolean
  readonly metrics: ProxyMetrics
  readonly log: Logger
}

/** A blob that comes, and for whom. */
interface Coming {
  readonly fill: BlobFill
  readonly path: string
  /** Repositories here, whose upstreams all said that they have it. */
  readonly repositories: Set<string>
}

/** Where blobs gather, below the data folder. */
const FOLDER = 'proxy'

/**
 * Blobs as routes know them; those of other registries come from there when they are asked for, once however many ask,
 * and are kept.
 */
export class ProxiedBlobs implements Pick<BlobStore, 'sizeOf' | 'open' | 'pathOf' | 'unlink'>, Startable {
  readonly #dependencies: ProxiedBlobsDependencies
  /** By digest: what several repositories share comes once. */
  readonly #fills = new Map<string, Coming>()
  readonly #keeping = new Set<Promise<void>>()
  readonly #abort = new AbortController()
  /** What is being asked of upstreams, and what is beginning to come; by repository and digest. */
  readonly #asked = new SingleFlight<FillSource>()
  readonly #coming = new SingleFlight<{ source: FillSource; fill?: BlobFill }>()

  constructor(dependencies: ProxiedBlobsDependencies) {
    this.#dependencies = dependencies
  }

  /** Throws away what an earlier process left half. */
  async start(): Promise<void> {
    await this.#dependencies.spool.remove(FOLDER)
  }

  /** Breaks off what is coming; what is being put away is finished. */
  async stop(): Promise<void> {
    this.#abort.abort()
    await Promise.all(this.#keeping)
  }

  pathOf(repository: string, digest: Digest): Promise<{ path: string; sizeBytes: number } | undefined> {
    return this.#dependencies.blobs.pathOf(repository, digest)
  }

  unlink(repository: string, digest: Digest): Promise<boolean> {
    return this.#dependencies.blobs.unlink(repository, digest)
  }

  /** Of a blob that is not here, what its upstream says. Throws RegistryError. */
  async sizeOf(repository: string, digest: Digest): Promise<number | undefined> {
    const sizeBytes = await this.#dependencies.blobs.sizeOf(repository, digest)
    if (sizeBytes !== undefined || this.#dependencies.upstreams.of(repository) === undefined) return sizeBytes
    return (await this.#ask(repository, digest))?.sizeBytes
  }

  /** A blob that is not here can be read while it comes. Throws RegistryError. */
  async open(repository: string, digest: Digest): Promise<StoredFile | undefined> {
    const { blobs, upstreams, metrics } = this.#dependencies
    const upstream = upstreams.of(repository)
    if (upstream === undefined) return blobs.open(repository, digest)
    metrics.requests.inc({ type: 'blob' })
    const kept = await blobs.open(repository, digest)
    if (kept !== undefined) metrics.hits.inc({ type: 'blob' })
    return this.#counted(kept ?? (await this.#openComing(repository, digest)))
  }

  /** A blob that is not here. */
  async #openComing(repository: string, digest: Digest): Promise<StoredFile | undefined> {
    const { blobs, bodies } = this.#dependencies
    const { source, fill } = await this.#coming.run(keyOf(repository, digest), () => this.#fetch(repository, digest))
    const straight = upstreamFile(bodies, source)
    try {
      await fill?.begun()
    } catch (error) {
      throw upstreamError(error, 'BLOB_UNKNOWN')
    }
    // Neither is there when nothing may be kept, or the disk is full: that keeps nobody from reading.
    return (await fill?.open()) ?? (await blobs.open(repository, digest)) ?? straight
  }

  #counted(file: StoredFile | undefined): StoredFile | undefined {
    const { pushedBytes } = this.#dependencies.metrics
    if (file === undefined) return undefined
    return {
      sizeBytes: file.sizeBytes,
      chunks: async function* (range) {
        for await (const chunk of file.chunks(range)) {
          pushedBytes.inc({ type: 'blob' }, chunk.byteLength)
          yield chunk
        }
      },
      close: () => file.close(),
    }
  }

  /** Has a blob fetched, unless it may not be kept, or the store has it for another repository. */
  async #fetch(repository: string, digest: Digest): Promise<{ source: FillSource; fill?: BlobFill }> {
    const { mayKeep, metrics } = this.#dependencies
    const source = await this.#ask(repository, digest)
    const isShared = mayKeep() && (await this.#isShared(repository, source))
    const counter = isShared ? metrics.hits : metrics.misses
    counter.inc({ type: 'blob' })
    return isShared || !mayKeep() ? { source } : { source, fill: this.#fill(repository, source) }
  }

  /** What the upstream has, which is also its word that the repository has it. One request, however many ask. */
  async #ask(repository: string, digest: Digest): Promise<FillSource> {
    const coming = this.#fills.get(formatDigest(digest))
    if (coming?.repositories.has(repository)) return coming.fill.source
    return this.#asked.run(keyOf(repository, digest), () => this.#head(repository, digest))
  }

  async #head(repository: string, digest: Digest): Promise<FillSource> {
    const { upstreams, client } = this.#dependencies
    const upstream = upstreams.of(repository)
    if (upstream === undefined) throw new Error(`${repository} is no upstream's`)
    try {
      const { signal } = this.#abort
      const { size } = await client.headBlob({ ...upstream, digest: formatDigest(digest), signal })
      return { ...upstream, digest, sizeBytes: size }
    } catch (error) {
      throw upstreamError(error, 'BLOB_UNKNOWN')
    }
  }

  /** Whether the store had it for another repository; then it is this one's too. */
  async #isShared(repository: string, { digest, sizeBytes }: FillSource): Promise<boolean> {
    try {
      return await this.#dependencies.blobs.claim(repository, digest, sizeBytes)
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'DENIED') return false
      throw error
    }
  }

  #fill(repository: string, source: FillSource): BlobFill {
    const { bodies: client, spool, metrics } = this.#dependencies
    const key = formatDigest(source.digest)
    const already = this.#fills.get(key)
    if (already !== undefined) {
      already.repositories.add(repository)
      return already.fill
    }
    const path = `${FOLDER}/${randomUUID()}`
    const received = (bytes: number) => metrics.pulledBytes.inc({ type: 'blob' }, bytes)
    const fill = new BlobFill(source, { client, spool, path, received, signal: this.#abort.signal })
    const coming: Coming = { fill, path, repositories: new Set([repository]) }
    this.#fills.set(key, coming)
    const keeping = this.#keep(coming).finally(() => {
      this.#fills.delete(key)
      this.#keeping.delete(keeping)
    })
    this.#keeping.add(keeping)
    return fill
  }

  /** Does not reject: who reads the blob gets it all the same. */
  async #keep({ fill, path, repositories }: Coming): Promise<void> {
    const { blobs, spool, log } = this.#dependencies
    const { digest, sizeBytes, registry } = fill.source
    try {
      await fill.done
      const [first = '', ...others] = repositories
      await this.#adopt(first, fill, path)
      for (const repository of others) await blobs.claim(repository, digest, sizeBytes)
    } catch (error) {
      if (this.#abort.signal.aborted) return
      const fields = { registry, digest: formatDigest(digest), repositories: [...repositories] }
      log.warn({ ...fields, error: errorChain(error) }, "an upstream's blob could not be kept; it is asked for again")
    } finally {
      await spool.remove(path).catch(() => {})
    }
  }

  async #adopt(repository: string, { source: { digest, sizeBytes }, target }: BlobFill, path: string): Promise<void> {
    const { blobs, uploads, spool, isSpoolStorage } = this.#dependencies
    if (target === undefined) throw new Error('the blob is not whole')
    if (isSpoolStorage) return blobs.adopt(repository, digest, target, { path, sizeBytes })
    const id = await uploads.start(repository, digest.algorithm)
    try {
      await uploads.commit(repository, id, digest, { body: copyOf(spool, path, sizeBytes) })
    } catch (error) {
      await uploads.cancel(repository, id).catch(() => {})
      throw error
    }
  }
}

function keyOf(repository: string, digest: Digest): string {
  return `${repository}@${formatDigest(digest)}`
}

/** The bytes of a file, in buffers of their own. */
async function* copyOf(spool: StorageDriver, path: string, sizeBytes: number): AsyncGenerator<Uint8Array> {
  const file = sizeBytes === 0 ? undefined : await spool.open(path)
  if (file === undefined) return
  try {
    for await (const chunk of file.chunks({ start: 0, end: sizeBytes - 1 })) yield Buffer.from(chunk)
  } finally {
    await file.close()
  }
}
