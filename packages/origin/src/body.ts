import { originError, type Subject } from './errors.ts'
import type { Receiver, ResponseHead } from './exchange.ts'
import { headerOf } from './follow.ts'

const MAX_MEDIA_TYPE_LENGTH = 255

/** Collects a small body; throws OriginError `PROTOCOL` when it is larger than allowed, or encoded. */
export class BoundedBody implements Receiver {
  readonly #subject: Subject
  readonly #maxBytes: number
  #chunks: Buffer[] = []
  #length = 0

  constructor(subject: Subject, maxBytes: number) {
    this.#subject = subject
    this.#maxBytes = maxBytes
  }

  onHead(head: ResponseHead): void {
    refuseEncoding(head, this.#subject)
    // A retried request starts over.
    this.#chunks = []
    this.#length = 0
  }

  onData(chunk: Buffer): boolean {
    this.#length += chunk.length
    if (this.#length > this.#maxBytes) {
      throw originError('PROTOCOL', this.#subject, `the origin's answer is larger than ${this.#maxBytes} bytes`)
    }
    this.#chunks.push(chunk)
    return true
  }

  /** All that came. */
  bytes(): Buffer {
    return Buffer.concat(this.#chunks, this.#length)
  }
}

/** We ask for identity: an encoded body is not the bytes that a digest, a size and a range speak of. */
export function refuseEncoding(head: ResponseHead, subject: Subject): void {
  if (!isEncoded(head)) return
  throw originError(
    'PROTOCOL',
    subject,
    'the origin, or a proxy before it, encodes the body although identity was asked for: turn compression off there',
  )
}

/** Whether the body is not the content itself. */
export function isEncoded(head: ResponseHead): boolean {
  const encoding = head.headers['content-encoding']
  return encoding !== undefined && encoding !== '' && encoding !== 'identity'
}

/** Throws OriginError `PROTOCOL` for what is no JSON object, as manifests and lists are: often a page to log in. */
export function refusePage(head: ResponseHead, bytes: Buffer, subject: Subject): void {
  if (/^\uFEFF?\s*\{/.test(bytes.subarray(0, 1024).toString())) return
  const isPage = mediaTypeOf(head).mediaType === 'text/html'
  throw originError(
    'PROTOCOL',
    subject,
    `the origin answers with ${isPage ? 'a web page' : 'something else'} in place of JSON: a page to log in, or a proxy on the way? Check its url`,
  )
}

/** A response's media type without parameters. */
export function mediaTypeOf(head: ResponseHead): { mediaType?: string } {
  const type = headerOf(head, 'content-type')?.split(';')[0]?.trim().toLowerCase()
  return type === undefined || type === '' || type.length > MAX_MEDIA_TYPE_LENGTH ? {} : { mediaType: type }
}

/** `Content-Length` in bytes; undefined when there is none or it is no number. */
export function contentLength(head: ResponseHead): number | undefined {
  const text = headerOf(head, 'content-length')
  return text !== undefined && /^[0-9]{1,16}$/.test(text) ? Number(text) : undefined
}
