import { digestOf, type Logger, MAX_MANIFEST_BYTES, parseDigest } from '@shoal/core'
import type { IndexDb } from './index-db.ts'

const MANIFEST = 'manifest!'
const TAG = 'tag!'
const LINE_END = 10

/** A manifest as its origin served it. */
export interface StoredManifest {
  readonly digest: string
  readonly mediaType: string
  readonly bytes: Uint8Array
}

/**
 * Manifests by digest, and what tags last meant, in the store's index. It is a cache: what it can not read it does
 * not have, and what it can not keep, because the disk is full, is only logged.
 */
export class ManifestStore {
  readonly #index: IndexDb
  readonly #log: Logger

  constructor(index: IndexDb, log: Logger) {
    this.#index = index
    this.#log = log
  }

  /** The manifest; undefined when it is not kept, or its bytes no longer have its digest. */
  async get(digest: string): Promise<StoredManifest | undefined> {
    const value = await this.#read(MANIFEST + digest)
    const lineEnd = value?.indexOf(LINE_END) ?? -1
    if (value === undefined || lineEnd < 0) return undefined
    const bytes = value.subarray(lineEnd + 1)
    if (digestOf(bytes, parseDigest(digest).algorithm) !== digest) return undefined
    return { digest, mediaType: Buffer.from(value.subarray(0, lineEnd)).toString('latin1'), bytes }
  }

  /** Keeps a manifest whose digest was checked. Its media type is one line. */
  async put({ digest, mediaType, bytes }: StoredManifest): Promise<void> {
    if (bytes.byteLength > MAX_MANIFEST_BYTES) throw new RangeError(`manifest ${digest} is too large to keep`)
    await this.#write(MANIFEST + digest, Buffer.concat([Buffer.from(`${mediaType}\n`, 'latin1'), bytes]))
  }

  /** The digest that `tag`, a name of the caller's making, was last seen to mean. */
  async tag(tag: string): Promise<string | undefined> {
    const value = await this.#read(TAG + tag)
    return value === undefined ? undefined : Buffer.from(value).toString('latin1')
  }

  async putTag(tag: string, digest: string): Promise<void> {
    await this.#write(TAG + tag, Buffer.from(digest, 'latin1'))
  }

  async #read(key: string): Promise<Uint8Array | undefined> {
    try {
      return await this.#index.get(key)
    } catch (error) {
      this.#log.warn({ err: error }, 'a manifest or tag can not be read from the index')
      return undefined
    }
  }

  async #write(key: string, value: Uint8Array): Promise<void> {
    try {
      await this.#index.put(key, value)
    } catch (error) {
      this.#log.warn({ err: error }, 'a manifest or tag can not be kept')
    }
  }
}
