import type { IndexDb } from '../store/index-db.ts'
import type { Stamp } from './folder.ts'

const CONTENT = 'content!'
const LINE_END = 10

/**
 * Which files of the runtime were verified, in the store's index: `content!<digest>` holds the stamp of the file that
 * was hashed, on a line of its own, and the sha256 of each piece. A file with another stamp is another file.
 */
export class VerifiedRecords {
  readonly #index: IndexDb

  constructor(index: IndexDb) {
    this.#index = index
  }

  /** The piece map of the file with this stamp; undefined when it was not verified. Throws StoreError. */
  async pieceMap(digest: string, stamp: Stamp): Promise<Uint8Array | undefined> {
    const value = await this.#index.get(CONTENT + digest)
    const lineEnd = value?.indexOf(LINE_END) ?? -1
    if (value === undefined || lineEnd < 0) return undefined
    if (Buffer.from(value.subarray(0, lineEnd)).toString('latin1') !== stamp.key) return undefined
    return value.subarray(lineEnd + 1)
  }

  /** Throws StoreError. */
  put(digest: string, stamp: Stamp, pieceMap: Uint8Array): Promise<void> {
    return this.#index.put(CONTENT + digest, Buffer.concat([Buffer.from(`${stamp.key}\n`, 'latin1'), pieceMap]))
  }

  /** Throws StoreError. */
  remove(digest: string): Promise<void> {
    return this.#index.remove(CONTENT + digest)
  }

  /** Digests of all records. */
  async *digests(): AsyncGenerator<string> {
    for await (const key of this.#index.keys(CONTENT)) yield key.slice(CONTENT.length)
  }
}
