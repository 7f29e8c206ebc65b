import { LaneError } from './errors.ts'

/** Tags of the DER values that a lane certificate is made of (ITU-T X.690). */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  /** `[0]` and `[3]`, explicit. */
  context0: 0xa0,
  context3: 0xa3,
} as const

/** A value in DER: tag, length, contents. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(contents)
  const length = body.length
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), body])
  const bytes = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  if (length > 0xffff) throw new RangeError(`a DER value of ${length} bytes`)
  return Buffer.concat([Buffer.from([tag, ...bytes]), body])
}

/** Reads DER values one after the other; every length is checked against what is there. */
export class DerReader {
  readonly #bytes: Buffer
  #position = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#position === this.#bytes.length
  }

  /** The tag of the next value; undefined at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#position]
  }

  /** The contents of the next value. Throws LaneError `handshake` when it has another tag or does not fit. */
  read(tag: number): Buffer {
    return this.#next(tag).contents
  }

  /** The next value whole, tag and length included. Throws as `read` does. */
  readWhole(tag: number): Buffer {
    return this.#next(tag).whole
  }

  /** Throws LaneError `handshake` unless all was read. */
  end(): void {
    if (!this.isAtEnd) throw malformed()
  }

  #next(tag: number): { contents: Buffer; whole: Buffer } {
    const start = this.#position
    if (this.#bytes[start] !== tag) throw malformed()
    const first = this.#bytes[start + 1] ?? 0x80
    const lengthBytes = first < 0x80 ? 0 : first - 0x80
    if (first === 0x80 || lengthBytes > 2 || start + 2 + lengthBytes > this.#bytes.length) throw malformed()
    const length = lengthBytes === 0 ? first : this.#bytes.readUIntBE(start + 2, lengthBytes)
    const begin = start + 2 + lengthBytes
    const end = begin + length
    // DER writes a length in as few bytes as it takes.
    if (end > this.#bytes.length || (lengthBytes > 0 && length < (lengthBytes === 1 ? 0x80 : 0x100))) throw malformed()
    this.#position = end
    return { contents: this.#bytes.subarray(begin, end), whole: this.#bytes.subarray(start, end) }
  }
}

function malformed(): LaneError {
  return new LaneError('handshake', 'a certificate that is no proper DER')
}
