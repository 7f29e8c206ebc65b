/**
 * Which pieces of a blob are held and verified: a bitmap with bit i (least significant first) for piece i. May live
 * in a SharedArrayBuffer so that worker threads see it without messages; one thread writes, others read.
 */
export class HaveSet {
  /** How many pieces the blob has. */
  readonly count: number
  readonly #bits: Uint8Array
  #held = 0

  /**
   * @param count pieces of the blob, at least 0
   * @param buffer where the bits live, at least `HaveSet.byteLength(count)` bytes; bits already set count as held
   */
  constructor(count: number, buffer: ArrayBuffer | SharedArrayBuffer = new ArrayBuffer(HaveSet.byteLength(count))) {
    this.count = count
    this.#bits = new Uint8Array(buffer, 0, HaveSet.byteLength(count))
    for (let i = 0; i < count; i++) if (this.has(i)) this.#held++
  }

  /** Bytes that a have-set of `count` pieces takes. */
  static byteLength(count: number): number {
    return Math.ceil(count / 8)
  }

  /**
   * A have-set from bytes off the wire or the disk. Missing bytes mean "not held"; undefined when it is longer than
   * `count` pieces take or names a piece past the last.
   */
  static fromBytes(bytes: Uint8Array, count: number): HaveSet | undefined {
    const length = HaveSet.byteLength(count)
    if (bytes.byteLength > length) return undefined
    const spare = bytes.byteLength === length && count % 8 !== 0 ? (bytes[length - 1] as number) >> (count % 8) : 0
    if (spare !== 0) return undefined
    const buffer = new ArrayBuffer(length)
    new Uint8Array(buffer).set(bytes)
    return new HaveSet(count, buffer)
  }

  /** The buffer that holds the bits; share it when it is a SharedArrayBuffer. */
  get buffer(): ArrayBufferLike {
    return this.#bits.buffer
  }

  /** How many pieces are held. */
  get held(): number {
    return this.#held
  }

  get isComplete(): boolean {
    return this.#held === this.count
  }

  /** Whether piece `index` is held. */
  has(index: number): boolean {
    return ((this.#bits[index >> 3] ?? 0) & (1 << (index & 7))) !== 0
  }

  /** Marks piece `index` as held; returns whether it was not before. */
  add(index: number): boolean {
    if (index < 0 || index >= this.count) throw new RangeError(`piece ${index} is not one of ${this.count}`)
    if (this.has(index)) return false
    this.#bits[index >> 3] = (this.#bits[index >> 3] as number) | (1 << (index & 7))
    this.#held++
    return true
  }

  /** Marks piece `index` as not held; returns whether it was held. */
  delete(index: number): boolean {
    if (!this.has(index)) return false
    this.#bits[index >> 3] = (this.#bits[index >> 3] as number) & ~(1 << (index & 7))
    this.#held--
    return true
  }

  /** The first piece at or after `from` that is not held; `count` when there is none. */
  firstMissing(from = 0): number {
    let index = from
    while (index < this.count && this.has(index)) index++
    return index
  }

  /** A copy of the bits. */
  toBytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#bits)
  }
}
