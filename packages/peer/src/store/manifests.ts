import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf, type Logger, MAX_MANIFEST_BYTES, parseDigest, type Startable, tryParseDigest } from '@shoal/core'
import { freeBytesAt } from './disk.ts'
import type { IndexDb } from './index-db.ts'
import type { StoreOptions } from './options.ts'

/** Of `store.quotaBytes`: manifests never crowd out what they describe. */
const MOST_OF_QUOTA = 0.1
/** What a small file takes of a disk. */
const BLOCK_BYTES = 4096
/** Where manifests were kept before they had files of their own. */
const OLD_KEYS = 'manifest!'

type ManifestStoreOptions = StoreOptions & { readonly dataDir: string }

interface ManifestStoreDependencies {
  readonly index: Pick<IndexDb, 'keys' | 'remove'>
  readonly log: Logger
  /** Bytes that may still be written to the file system of a folder. */
  readonly freeBytes?: (folder: string) => number
}

/**
 * Bytes of manifests by digest, one file each. It is a cache with a bound of its own: those used longest ago go, and
 * nothing is kept when the disk is nearly full. What it cannot read it does not have.
 */
export class ManifestStore implements Startable {
  readonly #folder: string
  readonly #mostBytes: number
  readonly #minFreeBytes: number
  readonly #index: Pick<IndexDb, 'keys' | 'remove'>
  readonly #log: Logger
  readonly #freeBytes: () => number
  /** Bytes by digest, those used longest ago first. */
  readonly #sizes = new Map<string, number>()
  #bytes = 0

  constructor(options: ManifestStoreOptions, dependencies: ManifestStoreDependencies) {
    const { dataDir, manifestBytes, minFreeBytes, quotaBytes } = options
    const { freeBytes = freeBytesAt } = dependencies
    this.#folder = join(dataDir, 'manifests')
    this.#mostBytes = quotaBytes === 0 ? manifestBytes : Math.min(manifestBytes, quotaBytes * MOST_OF_QUOTA)
    this.#minFreeBytes = minFreeBytes
    this.#index = dependencies.index
    this.#log = dependencies.log
    this.#freeBytes = () => freeBytes(dataDir)
  }

  /** Bytes of all manifests that are kept. */
  get bytes(): number {
    return this.#bytes
  }

  /** Finds what an earlier process kept; a full disk is no obstacle. */
  async start(): Promise<void> {
    for await (const key of this.#index.keys(OLD_KEYS)) await this.#index.remove(key)
    const found: { readonly digest: string; readonly size: number; readonly usedMs: number }[] = []
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const digest = name.replace('-', ':')
      const file = join(this.#folder, name)
      const stats = await stat(file).catch(() => undefined)
      if (tryParseDigest(digest) === undefined || stats?.isFile() !== true)
        await rm(file, { recursive: true, force: true })
      else found.push({ digest, size: stats.size, usedMs: stats.mtimeMs })
    }
    for (const { digest, size } of found.sort((a, b) => a.usedMs - b.usedMs)) this.#note(digest, size)
    await this.#keepBounded()
  }

  async stop(): Promise<void> {
    this.#sizes.clear()
    this.#bytes = 0
  }

  /** The bytes; undefined when they are not kept, or no longer have their digest. */
  async get(digest: string): Promise<Uint8Array | undefined> {
    if (!this.#sizes.has(digest)) return undefined
    const bytes = await readFile(this.#fileOf(digest)).catch(() => undefined)
    if (bytes !== undefined && digestOf(bytes, parseDigest(digest).algorithm) === digest) {
      this.#note(digest, bytes.byteLength)
      return bytes
    }
    this.#log.warn({ digest }, 'a manifest on disk is damaged or gone; it will be fetched again')
    await this.#drop(digest)
    return undefined
  }

  /** Keeps bytes whose digest was checked, where there is room for them. */
  async put(digest: string, bytes: Uint8Array): Promise<void> {
    if (bytes.byteLength > MAX_MANIFEST_BYTES) throw new RangeError(`manifest ${digest} is too large to keep`)
    if (this.#sizes.has(digest) || bytes.byteLength > this.#mostBytes) return
    if (this.#freeBytes() < this.#minFreeBytes + bytes.byteLength) return
    const temporary = join(this.#folder, `${randomUUID()}.tmp`)
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 })
      await writeFile(temporary, bytes, { mode: 0o600 })
      await rename(temporary, this.#fileOf(digest))
      this.#note(digest, bytes.byteLength)
      await this.#keepBounded()
    } catch (error) {
      this.#log.warn({ digest, err: error }, 'a manifest cannot be kept')
      await rm(temporary, { force: true }).catch(() => {})
    }
  }

  #fileOf(digest: string): string {
    return join(this.#folder, digest.replace(':', '-'))
  }

  /** Counts a manifest as used just now. */
  #note(digest: string, size: number): void {
    const taken = Math.max(BLOCK_BYTES, size)
    this.#bytes += taken - (this.#sizes.get(digest) ?? 0)
    this.#sizes.delete(digest)
    this.#sizes.set(digest, taken)
  }

  async #keepBounded(): Promise<void> {
    for (const digest of this.#sizes.keys()) {
      if (this.#bytes <= this.#mostBytes) return
      await this.#drop(digest)
    }
  }

  async #drop(digest: string): Promise<void> {
    this.#bytes -= this.#sizes.get(digest) ?? 0
    this.#sizes.delete(digest)
    await rm(this.#fileOf(digest), { force: true }).catch((error: unknown) => {
      this.#log.warn({ digest, err: error }, 'a manifest cannot be deleted')
    })
  }
}
