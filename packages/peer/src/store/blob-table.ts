import type { StoredBlob } from './blob.ts'

/** The blobs of a store by digest, and the sums that every new blob is measured against, kept so as not to add up anew. */
export class BlobTable {
  readonly #blobs = new Map<string, StoredBlob>()
  readonly #partial = new Map<string, StoredBlob>()
  #usedBytes = 0

  /** Bytes of all blobs; one in part counts with its whole size. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  /** Bytes of the pieces that blobs in part lack. */
  get promisedBytes(): number {
    let bytes = 0
    for (const blob of this.#partial.values()) bytes += blob.missingBytes
    return bytes
  }

  get(digest: string): StoredBlob | undefined {
    return this.#blobs.get(digest)
  }

  has(digest: string): boolean {
    return this.#blobs.has(digest)
  }

  values(): IterableIterator<StoredBlob> {
    return this.#blobs.values()
  }

  /** Adds the blob, in the place of one with its digest. */
  set(blob: StoredBlob): void {
    this.delete(blob.digest)
    this.#blobs.set(blob.digest, blob)
    this.#usedBytes += blob.size
    if (!blob.isComplete) this.#partial.set(blob.digest, blob)
  }

  delete(digest: string): void {
    const blob = this.#blobs.get(digest)
    if (blob === undefined) return
    this.#blobs.delete(digest)
    this.#partial.delete(digest)
    this.#usedBytes -= blob.size
  }

  clear(): void {
    this.#blobs.clear()
    this.#partial.clear()
    this.#usedBytes = 0
  }
}
