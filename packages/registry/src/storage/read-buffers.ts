const MIB = 1024 * 1024
/** A read of a MiB costs the wake-ups of a quarter of one. */
const LARGE_BYTES = 1 * MIB
const SMALL_BYTES = MIB / 4
const MAX_LARGE = 32
/** From so many large ones on the cores are busy without anybody reading ahead, and the caches are full. */
const MAX_WITH_SPARES = 8

/**
 * Buffers that files are read into: large ones as long as few are out, so that memory stays bounded when many files
 * are read at once. Large ones go round, because fresh pages cost more than what is copied into them.
 */
export class ReadBuffers {
  readonly #free: Buffer<ArrayBuffer>[] = []
  #largeOut = 0

  /** A buffer for a read with `leftBytes` to come, at least 1: of 256 KiB, or of 1 MiB, or of just these. */
  take(leftBytes: number): Buffer<ArrayBuffer> {
    if (leftBytes <= SMALL_BYTES || this.#largeOut === MAX_LARGE) {
      return Buffer.allocUnsafeSlow(Math.min(SMALL_BYTES, leftBytes))
    }
    return this.#takeLarge()
  }

  /** A second one, to read ahead into while the first is in use; undefined when that is not worth it. */
  takeSpare(): Buffer<ArrayBuffer> | undefined {
    return this.#largeOut < MAX_WITH_SPARES ? this.#takeLarge() : undefined
  }

  #takeLarge(): Buffer<ArrayBuffer> {
    this.#largeOut++
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES)
  }

  /** @param isIdle false when somebody may still read it or write into it: then it is left to the collector */
  giveBack(buffer: Buffer<ArrayBuffer>, isIdle: boolean): void {
    if (buffer.byteLength !== LARGE_BYTES) return
    this.#largeOut--
    if (isIdle) this.#free.push(buffer)
  }
}
