const NOTHING = new Uint8Array(0)

/**
 * The last bytes of something that grows, copied into one buffer. Chunks off a socket that are held instead grow old in
 * the heap, and each full collection that clears them up costs what fetching 50 MiB does.
 */
export class Ring {
  readonly #capacity: number
  /** Made when the first bytes come: many may wait for a connection. */
  #bytes: Buffer | undefined
  /** Offset after the last byte that came. */
  #end = 0

  /** @param capacityBytes at least 1 */
  constructor(capacityBytes: number) {
    this.#capacity = capacityBytes
  }

  get end(): number {
    return this.#end
  }

  /**
   * Takes as much of `chunk` as there is room for.
   * @param neededFrom offset from which all must stay
   * @returns the bytes that were taken
   */
  add(chunk: Uint8Array, neededFrom: number): number {
    const capacity = this.#capacity
    this.#bytes ??= Buffer.allocUnsafeSlow(capacity)
    const room = capacity - (this.#end - neededFrom)
    const taken = Math.min(room, chunk.byteLength)
    for (let done = 0; done < taken; ) {
      const at = this.#end % capacity
      const part = chunk.subarray(done, done + Math.min(taken - done, capacity - at))
      this.#bytes.set(part, at)
      done += part.byteLength
      this.#end += part.byteLength
    }
    return taken
  }

  /** Bytes from `position` up to `end`, or to where the buffer wraps; none when that one is not here, or not any more. */
  from(position: number, end = this.#end): Uint8Array {
    const capacity = this.#capacity
    if (this.#bytes === undefined || position < this.#end - capacity || position >= end) return NOTHING
    const at = position % capacity
    return this.#bytes.subarray(at, Math.min(capacity, at + end - position))
  }
}
