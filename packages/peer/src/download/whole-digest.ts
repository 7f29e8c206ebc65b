import { parseDigest } from '@shoal/core'
import type { StoredBlob } from '../store/blob.ts'
import type { PieceWorkers } from './dependencies.ts'

/** The digest of a whole blob, hashed in a worker thread while its pieces arrive. */
export class WholeDigest {
  readonly #blob: StoredBlob
  readonly #workers: PieceWorkers
  readonly #signal: AbortSignal
  /** The blob is one piece, and its digest the piece's: nothing else needs to be hashed. */
  readonly #isOwnPiece: boolean
  /** Changes with each piece, for the thread that hashes. */
  readonly #progress = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  #hashing: Promise<string> | undefined

  constructor(blob: StoredBlob, dependencies: { workers: PieceWorkers; signal: AbortSignal }) {
    this.#blob = blob
    this.#workers = dependencies.workers
    this.#signal = dependencies.signal
    this.#isOwnPiece = blob.layout.count === 1 && parseDigest(blob.digest).algorithm === 'sha256'
  }

  /** A piece was added: the hashing begins with the first one. What goes wrong is told by `found`. */
  pieceAdded(): void {
    Atomics.add(this.#progress, 0, 1)
    Atomics.notify(this.#progress, 0)
    if (!this.#isOwnPiece) void this.#hash().catch(() => {})
  }

  /** The digest (hex) that the blob, which is all here, really has. Rejects as `hashGrowing` does. */
  found(): Promise<string> {
    const { pieceDigests } = this.#blob
    const isKnown = this.#isOwnPiece && pieceDigests !== undefined
    return isKnown ? Promise.resolve(Buffer.from(pieceDigests).toString('hex')) : this.#hash()
  }

  #hash(): Promise<string> {
    const { digest, file, size, haveBuffer: have } = this.#blob
    const growing = { file, size, algorithm: parseDigest(digest).algorithm, have, progress: this.#progress }
    this.#hashing ??= this.#workers.hashGrowing(growing, this.#signal)
    return this.#hashing
  }
}
