import { decodeFrame, type Frame, fieldBytesOf, HEADER_BYTES, MAX_FIELD_BYTES } from './frames.ts'

/** Who is told what came in. */
export interface FrameSink {
  /** A whole frame. */
  frame(frame: Frame): void
  /** The next bytes of the payload of the response told last; valid only during the call. */
  payload(bytes: Buffer): void
}

/**
 * Cuts a byte stream, however it was split, into frames and their payloads. Keeps at most one frame's header and
 * fields; payload bytes are passed on as they are, so no length that comes off the wire makes it allocate.
 */
export class FrameParser {
  readonly #sink: FrameSink
  readonly #head = Buffer.alloc(HEADER_BYTES + MAX_FIELD_BYTES)
  #filled = 0
  #needed = HEADER_BYTES
  #payloadLeft = 0
  #isStopped = false

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** Takes the next bytes. Throws LaneError `protocol` on what is no frame; nothing may be pushed after that. */
  push(chunk: Buffer): void {
    let position = 0
    while (position < chunk.length && !this.#isStopped) {
      if (this.#payloadLeft > 0) {
        const end = Math.min(chunk.length, position + this.#payloadLeft)
        this.#payloadLeft -= end - position
        this.#sink.payload(position === 0 && end === chunk.length ? chunk : chunk.subarray(position, end))
        position = end
      } else {
        position += this.#fillHead(chunk, position)
      }
    }
  }

  /** Passes on nothing more, not even from the chunk being pushed. */
  stop(): void {
    this.#isStopped = true
  }

  #fillHead(chunk: Buffer, position: number): number {
    const taken = chunk.copy(this.#head, this.#filled, position, position + this.#needed - this.#filled)
    this.#filled += taken
    if (this.#filled < this.#needed) return taken
    if (this.#needed === HEADER_BYTES) {
      this.#needed += fieldBytesOf(this.#head)
      return taken
    }
    const frame = decodeFrame(this.#head.subarray(0, this.#needed))
    this.#filled = 0
    this.#needed = HEADER_BYTES
    if (frame.type === 'response') this.#payloadLeft = frame.length
    this.#sink.frame(frame)
    return taken
  }
}
