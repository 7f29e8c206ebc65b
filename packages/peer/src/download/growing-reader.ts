import { type ByteRange, unlessAborted } from '@shoal/core'
import type { BlobReader } from './reader.ts'

/** A part that is short is asked of the origin when the whole is not here within this; it costs the origin little. */
const SHORT_PART_WAIT_MS = 200
/** A part that is long is asked of it only after this: nodes that all read so would each fetch the blob. */
const LONG_PART_WAIT_MS = 20_000
/** Bytes, or a share of the blob. */
const SHORT_PART_BYTES = 4 * 1024 * 1024
const SHORT_PART_SHARE = 1 / 8

/** The blob that grows, as its reader sees it. */
export interface GrowingBlobView {
  /** Resolves when the download is over, whole or not. */
  readonly ended: Promise<unknown>
  readonly isWhole: () => boolean
  /** Whether the bytes of `range` are here and came from the reader's own origin. */
  readonly isFromOwnOrigin: (range: ByteRange) => boolean
}

/**
 * A reader of a blob that is on its way. Of the whole blob the bytes are given as they come, since its last piece is held
 * back until all of it is right. A part has no such end: until the blob is whole, a part is given only out of what the
 * reader's own origin sent, because what other nodes sent was compared with digests that they made themselves.
 */
export class GrowingReader implements BlobReader {
  readonly digest: string
  readonly size: number
  readonly #held: BlobReader
  readonly #view: GrowingBlobView
  readonly #ownOrigin: () => BlobReader

  /**
   * @param held reads what is here, and waits for what is not
   * @param ownOrigin a reader of the origin's own bytes
   */
  constructor(held: BlobReader, view: GrowingBlobView, ownOrigin: () => BlobReader) {
    this.digest = held.digest
    this.size = held.size
    this.#held = held
    this.#view = view
    this.#ownOrigin = ownOrigin
  }

  async *read(range: ByteRange, signal: AbortSignal): AsyncGenerator<Buffer> {
    const isOfWhole = range.start === 0 && range.end === this.size - 1
    const isVouchedFor = isOfWhole || (await this.#isVouchedFor(range, signal))
    yield* (isVouchedFor ? this.#held : this.#ownOrigin()).read(range, signal)
  }

  close(): Promise<void> {
    return this.#held.close()
  }

  async #isVouchedFor(range: ByteRange, signal: AbortSignal): Promise<boolean> {
    const { ended, isWhole, isFromOwnOrigin } = this.#view
    if (isWhole() || isFromOwnOrigin(range)) return true
    const bytes = range.end - range.start + 1
    const isShort = bytes <= Math.max(SHORT_PART_BYTES, this.size * SHORT_PART_SHARE)
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, isShort ? SHORT_PART_WAIT_MS : LONG_PART_WAIT_MS)
    try {
      await unlessAborted(Promise.race([ended, late.promise]), signal)
    } finally {
      clearTimeout(timer)
    }
    return isWhole() || isFromOwnOrigin(range)
  }
}
