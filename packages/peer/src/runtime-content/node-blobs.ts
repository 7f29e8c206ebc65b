import type { StoredBlob } from '../store/blob.ts'
import type { Unpin } from '../store/pins.ts'
import type { BlobStore } from '../store/store.ts'
import type { RuntimeContent } from './runtime-content.ts'

/**
 * All blobs of this node: those of its own store, and whole ones that the runtime holds. What the runtime holds need
 * not be downloaded; new blobs, and pieces, go into the own store alone.
 */
export class NodeBlobs {
  readonly #store: BlobStore
  readonly #runtime: RuntimeContent

  constructor(store: BlobStore, runtime: RuntimeContent) {
    this.#store = store
    this.#runtime = runtime
  }

  /** Whole, from either; else what the own store has of it in part; undefined when this node has nothing of it. */
  find(digest: string): StoredBlob | undefined {
    const own = this.#store.find(digest)
    return own?.isComplete ? own : (this.#runtime.find(digest) ?? own)
  }

  /** Blobs that are whole, each once. */
  *complete(): Generator<StoredBlob> {
    yield* this.#store.complete()
    for (const blob of this.#runtime.blobs()) if (!this.#store.find(blob.digest)?.isComplete) yield blob
  }

  /** See BlobStore; the runtime's own copy may go all the same. */
  pin(digest: string): Unpin {
    return this.#store.pin(digest)
  }

  touch(digest: string): void {
    this.#store.touch(digest)
  }

  get evictedBytes(): number {
    return this.#store.evictedBytes
  }

  makeRoom(bytes: number, evictedBefore: number): Promise<number> {
    return this.#store.makeRoom(bytes, evictedBefore)
  }

  create(digest: string, size: number): Promise<StoredBlob> {
    return this.#store.create(digest, size)
  }

  addPiece(blob: StoredBlob, piece: number, sha256: Uint8Array): Promise<boolean> {
    return this.#store.addPiece(blob, piece, sha256)
  }

  publish(blob: StoredBlob): Promise<void> {
    return this.#store.publish(blob)
  }

  /** Forgets the own copy and deletes its bytes; the runtime's is the runtime's. */
  discard(digest: string): Promise<void> {
    return this.#store.discard(digest)
  }

  /** Forgets the copy whose file is not there any more. */
  async lost(blob: StoredBlob): Promise<void> {
    await this.#runtime.lost(blob)
    await this.#store.lost(blob)
  }

  /** Of what `find` gives. */
  async pieceMap(digest: string): Promise<Uint8Array | undefined> {
    const held = this.#store.find(digest)?.isComplete ? undefined : this.#runtime.find(digest)
    return held === undefined ? this.#store.pieceMap(digest) : this.#runtime.pieceMap(digest)
  }
}
