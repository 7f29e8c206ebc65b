/** Gathers chunks of any size into parts of one size, since every request to an object store costs a round trip. */
export class PartBuffer {
  readonly #partBytes: number
  #chunks: Uint8Array[] = []
  #bytes = 0

  constructor(partBytes: number) {
    this.#partBytes = partBytes
  }

  /** Bytes that wait for the rest of their part. */
  get bytes(): number {
    return this.#bytes
  }

  /** The parts that are full with `chunk`. Bytes that are not in one of them are copied. */
  *add(chunk: Uint8Array): Generator<Uint8Array> {
    for (let offset = 0; offset < chunk.byteLength; ) {
      const bytes = Math.min(this.#partBytes - this.#bytes, chunk.byteLength - offset)
      this.#chunks.push(new Uint8Array(chunk.subarray(offset, offset + bytes)))
      this.#bytes += bytes
      offset += bytes
      if (this.#bytes === this.#partBytes) yield this.take()
    }
  }

  /** What has been gathered, which begins a new part. */
  take(): Uint8Array {
    const part = Buffer.concat(this.#chunks)
    this.#chunks = []
    this.#bytes = 0
    return part
  }
}
