import type { ByteRange } from '@shoal/core'
import type { StoredBlob } from '../store/blob.ts'
import type { PassThroughReader } from './pass-through.ts'
import { type BlobReader, PieceReader } from './reader.ts'
import { mayPassThrough } from './store-failure.ts'

/** What a FallbackReader works with. */
interface FallbackDependencies {
  /** Resolves when a piece may be read. */
  readonly waitForPiece: (piece: number, signal: AbortSignal) => Promise<void>
  /** The way to the origin's own bytes. */
  readonly passThrough: (error: unknown) => PassThroughReader
  /** Called once, when the reader is closed. */
  readonly closed: () => void
}

interface FallbackState {
  /** Why what is here is not read any more, by this read or a later one. */
  failure: { readonly error: unknown } | undefined
}

/**
 * A reader of what is on disk that goes on with the origin's bytes where the disk fails, because it is full in the middle
 * of a download or does not give back what was written, and where what is here is not for the reader's origin.
 */
export class FallbackReader implements BlobReader {
  readonly digest: string
  readonly size: number
  readonly #held: PieceReader
  readonly #state: FallbackState
  readonly #dependencies: FallbackDependencies

  private constructor(held: PieceReader, state: FallbackState, dependencies: FallbackDependencies) {
    this.digest = held.digest
    this.size = held.size
    this.#held = held
    this.#state = state
    this.#dependencies = dependencies
  }

  /** Throws the system's error when the file can not be opened; `closed` is not called then. */
  static open(blob: StoredBlob, dependencies: FallbackDependencies): FallbackReader {
    const state: FallbackState = { failure: undefined }
    const held = PieceReader.open(blob, async (piece, signal) => {
      // Once it has failed, only what was read before is read again, to be hashed.
      if (state.failure === undefined) await dependencies.waitForPiece(piece, signal)
    })
    return new FallbackReader(held, state, dependencies)
  }

  async *read(range: ByteRange, signal: AbortSignal): AsyncGenerator<Buffer> {
    const { failure } = this.#state
    if (failure !== undefined) {
      yield* this.#dependencies.passThrough(failure.error).read(range, signal)
      return
    }
    let next = range.start
    let passed: PassThroughReader
    try {
      for await (const chunk of this.#held.read(range, signal)) {
        next += chunk.byteLength
        yield chunk
      }
      return
    } catch (error) {
      if (signal.aborted || !mayPassThrough(error)) throw error
      this.#state.failure = { error }
      passed = this.#dependencies.passThrough(error)
    }
    const before = range.start === 0 && next > 0 ? this.#held.read({ start: 0, end: next - 1 }, signal) : undefined
    yield* passed.readOn({ start: next, end: range.end }, before, signal)
  }

  async close(): Promise<void> {
    try {
      await this.#held.close()
    } finally {
      this.#dependencies.closed()
    }
  }
}
