import { PieceLayout, pause } from '@shoal/core'
import type { PieceRequest } from '../lane/piece-fetch.ts'
import type { StoreError } from '../store/errors.ts'
import type { GrowingBlob, OriginRequest, PieceStore, PieceWorkers } from './dependencies.ts'
import { storeErrorOf } from './store-failure.ts'

const MAX_TRIES = 3
/** The threads close the files of evicted blobs on their next turn; until then the disk does not have the bytes back. */
const SETTLE_MS = 100

/**
 * The worker threads as one download uses them: its blob is not evicted while they work on it, and when the disk is
 * full, others are evicted and the work is tried again.
 */
export class DownloadWorkers implements PieceWorkers {
  readonly #digest: string
  readonly #workers: PieceWorkers
  readonly #store: PieceStore
  readonly #failed: (error: StoreError) => void
  readonly #underWay: Set<Promise<unknown>>

  /**
   * @param failed told when the disk is full for good, or broken: the download can not go on
   * @param underWay where all work is while it lasts
   */
  constructor(
    digest: string,
    dependencies: {
      workers: PieceWorkers
      store: PieceStore
      failed: (error: StoreError) => void
      underWay: Set<Promise<unknown>>
    },
  ) {
    this.#digest = digest
    this.#workers = dependencies.workers
    this.#store = dependencies.store
    this.#failed = dependencies.failed
    this.#underWay = dependencies.underWay
  }

  fetchPiece(request: PieceRequest, signal: AbortSignal, hurry: AbortSignal): Promise<{ durationMs: number }> {
    return this.#run(request.length, signal, () => this.#workers.fetchPiece(request, signal, hurry))
  }

  fetchFromOrigin(
    request: OriginRequest,
    onPiece: (piece: number, sha256: Uint8Array) => void,
    signal: AbortSignal,
  ): Promise<{ rangesIgnored: boolean }> {
    const end = request.firstPiece + request.pieceCount
    let firstPiece = request.firstPiece
    const told = (piece: number, sha256: Uint8Array) => {
      firstPiece = piece + 1
      onPiece(piece, sha256)
    }
    const { pieceSize } = new PieceLayout(request.size)
    return this.#run(request.pieceCount * pieceSize, signal, () =>
      this.#workers.fetchFromOrigin({ ...request, firstPiece, pieceCount: end - firstPiece }, told, signal),
    )
  }

  /** Not under a pin: it lasts as long as the download, which may never become whole. */
  hashGrowing(blob: GrowingBlob, signal: AbortSignal): Promise<string> {
    return this.#follow(this.#workers.hashGrowing(blob, signal))
  }

  #run<T>(bytes: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return this.#follow(this.#retry(bytes, signal, work))
  }

  #follow<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work)
    const ended = () => this.#underWay.delete(work)
    work.then(ended, ended)
    return work
  }

  async #retry<T>(bytes: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const unpin = this.#store.pin(this.#digest)
    try {
      for (let tries = 1; ; tries++) {
        const { evictedBytes } = this.#store
        try {
          return await work()
        } catch (error) {
          const failure = storeErrorOf(error)
          if (failure === undefined || signal.aborted) throw error
          const isFull = failure.code === 'NO_SPACE'
          if (!isFull || tries === MAX_TRIES || (await this.#store.makeRoom(bytes, evictedBytes)) === 0) {
            this.#failed(failure)
            throw error
          }
          await pause(SETTLE_MS, signal)
        }
      }
    } finally {
      // What follows at once, such as publishing, is still under the pin.
      setImmediate(unpin)
    }
  }
}
