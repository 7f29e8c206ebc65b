import { contentLength, refuseEncoding } from './body.ts'
import { parseContentRange, parseUnsatisfiedRange } from './content-range.ts'
import { type OriginError, originError, type Subject } from './errors.ts'
import type { Receiver, ResponseHead } from './exchange.ts'
import { headerOf } from './follow.ts'

/** The part of a blob that is wanted: inclusive byte offsets, and the size the blob is said to have. */
export interface WantedRange {
  readonly start: number
  readonly end: number
  readonly size: number
}

/** Takes bytes in. Where it gives a promise, nothing more comes before that resolves. */
export type ChunkTaker = (chunk: Buffer) => unknown

/**
 * Takes a blob's bytes off the wire and hands on exactly those that are wanted and not yet handed on, whether the
 * origin heeds `Range` or sends the whole. Refuses whatever contradicts the size.
 */
export class RangeReceiver implements Receiver {
  readonly #subject: Subject
  readonly #wanted: WantedRange
  readonly #onChunk: ChunkTaker
  /** Offset in the blob of the next byte off the wire. */
  #position = 0
  /** First offset that must not come. */
  #limit = 0
  /** First wanted offset not yet handed on. */
  next: number
  rangesIgnored = false

  constructor(subject: Subject, wanted: WantedRange, onChunk: ChunkTaker) {
    this.#subject = subject
    this.#wanted = wanted
    this.#onChunk = onChunk
    this.next = wanted.start
  }

  /** The `Range` header for what is still wanted; undefined when that is the whole blob. */
  rangeHeader(): string | undefined {
    const { end, size } = this.#wanted
    return this.next === 0 && end === size - 1 ? undefined : `bytes=${this.next}-${end}`
  }

  onHead(head: ResponseHead): void {
    refuseEncoding(head, this.#subject)
    if (head.status === 416) throw this.#unsatisfied(head)
    if (head.status === 206) this.#partHead(head)
    else this.#wholeHead(head)
  }

  onData(chunk: Buffer): boolean | Promise<boolean> {
    const from = this.#position
    const to = from + chunk.length
    this.#position = to
    if (to > this.#limit) throw this.#tooLong()
    const last = this.#wanted.end + 1
    const first = Math.max(from, this.next)
    let taken: unknown
    if (first < Math.min(to, last)) {
      const end = Math.min(to, last)
      this.next = end
      taken = this.#onChunk(first === from && end === to ? chunk : chunk.subarray(first - from, end - from))
    }
    // The rest of a body that goes on after the wanted part is not worth its bytes; at the very end of the blob it
    // is, as a longer blob is to be noticed and the connection to be kept.
    const goesOn = this.next < last || this.#limit === last
    return taken instanceof Promise ? taken.then(() => goesOn) : goesOn
  }

  #partHead(head: ResponseHead): void {
    const { end, size } = this.#wanted
    const range = parseContentRange(headerOf(head, 'content-range'))
    if (this.rangeHeader() === undefined || range === undefined) {
      throw this.#protocol('the origin answers 206 without being asked for a part, or without a valid Content-Range')
    }
    if (range.total !== undefined && range.total !== size) throw this.#sizeMismatch(range.total)
    if (range.start !== this.next || range.end !== end) {
      throw this.#protocol(
        `the origin was asked for bytes ${this.next}-${end} and answers with ${range.start}-${range.end}`,
      )
    }
    const length = contentLength(head)
    if (length !== undefined && length !== end - this.next + 1) {
      throw this.#protocol("the origin's Content-Length contradicts its Content-Range")
    }
    this.#position = this.next
    this.#limit = end + 1
  }

  #wholeHead(head: ResponseHead): void {
    const { size } = this.#wanted
    const length = contentLength(head)
    if (length !== undefined && length !== size) throw this.#sizeMismatch(length)
    if (this.rangeHeader() !== undefined) this.rangesIgnored = true
    this.#position = 0
    this.#limit = size
  }

  #unsatisfied(head: ResponseHead): OriginError {
    const total = parseUnsatisfiedRange(headerOf(head, 'content-range'))
    if (total !== undefined && total !== this.#wanted.size) return this.#sizeMismatch(total)
    return this.#protocol(`the origin says that bytes ${this.next}-${this.#wanted.end} are out of range (416)`)
  }

  #sizeMismatch(found: number): OriginError {
    return originError(
      'SIZE_MISMATCH',
      this.#subject,
      `the blob has ${found} bytes at the origin, not ${this.#wanted.size}: check the manifest that names it`,
    )
  }

  #tooLong(): OriginError {
    if (this.#limit === this.#wanted.size) {
      return originError(
        'SIZE_MISMATCH',
        this.#subject,
        `the origin sends more than the blob's ${this.#wanted.size} bytes: check the manifest that names it`,
      )
    }
    return this.#protocol('the origin sends more bytes than it announced')
  }

  #protocol(message: string): OriginError {
    return originError('PROTOCOL', this.#subject, message)
  }
}
