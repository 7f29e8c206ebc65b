import { digestOf, MAX_MANIFEST_BYTES, parseDigest } from '@shoal/core'
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

/** Manifests by digest, and what tags last meant, in the store's index. */
export class ManifestStore {
  readonly #index: IndexDb

  constructor(index: IndexDb) {
    this.#index = index
  }

  /** The manifest; undefined when it is not kept, or its bytes no longer have its digest. */
  async get(digest: string): Promise<StoredManifest | undefined> {
    const value = await this.#index.level.get(MANIFEST + digest)
    const lineEnd = value?.indexOf(LINE_END) ?? -1
    if (value === undefined || lineEnd < 0) return undefined
    const bytes = value.subarray(lineEnd + 1)
    if (digestOf(bytes, parseDigest(digest).algorithm) !== digest) return undefined
    return { digest, mediaType: Buffer.from(value.subarray(0, lineEnd)).toString('latin1'), bytes }
  }

  /** Keeps a manifest whose digest was checked. Its media type is one line. */
  async put({ digest, mediaType, bytes }: StoredManifest): Promise<void> {
    if (bytes.byteLength > MAX_MANIFEST_BYTES) throw new RangeError(`manifest ${digest} is too large to keep`)
    await this.#index.level.put(MANIFEST + digest, Buffer.concat([Buffer.from(`${mediaType}\n`, 'latin1'), bytes]))
  }

  /** The digest that `tag`, a name of the caller's making, was last seen to mean. */
  async tag(tag: string): Promise<string | undefined> {
    const value = await this.#index.level.get(TAG + tag)
    return value === undefined ? undefined : Buffer.from(value).toString('latin1')
  }

  async putTag(tag: string, digest: string): Promise<void> {
    await this.#index.level.put(TAG + tag, Buffer.from(digest, 'latin1'))
  }
}
