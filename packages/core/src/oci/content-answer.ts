import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { evaluateConditions, isRangeWanted } from './conditions.ts'
import { type ByteRange, MAX_RANGES, parseRanges } from './range.ts'

/** Content that goes by its digest. */
export interface Content {
  readonly digest: string
  readonly sizeBytes: number
  readonly mediaType: string
  /** Whether parts of it may be had; manifests are sent whole. */
  readonly hasRanges: boolean
}

/** What is sent in turn as a body: bytes of the content, or bytes that frame them. */
export type BodyPart = ByteRange | Uint8Array

/** How a server answers a GET or HEAD for content. Header names are in small letters. */
export type ContentAnswer =
  | {
      readonly status: 200 | 206 | 304
      readonly headers: Readonly<Record<string, string | number>>
      /** Empty for HEAD, for 304, and for empty content. */
      readonly body: readonly BodyPart[]
    }
  | {
      readonly status: 412 | 416
      /** To be sent with the error. */
      readonly headers: Readonly<Record<string, string | number>>
      /** For people: what was asked and cannot be had. */
      readonly why: string
    }

/**
 * How to answer a GET or HEAD for content that is there and that the client may have: conditions, one range or several
 * (`multipart/byteranges`), or the whole, as RFC 9110 §13 and §14 have it. A server sends `status` and `headers`, and
 * then each of `body` in turn; for 412 and 416 its error body with `headers`.
 */
export function answerContent(
  { method, headers }: { readonly method: string; readonly headers: IncomingHttpHeaders },
  { digest, sizeBytes, mediaType, hasRanges }: Content,
): ContentAnswer {
  const etag = `"${digest}"`
  const always = { etag, 'docker-content-digest': digest, ...(hasRanges ? { 'accept-ranges': 'bytes' } : {}) }
  const verdict = evaluateConditions(headers, etag)
  if (verdict === 'not-modified') return { status: 304, headers: always, body: [] }
  if (verdict === 'failed') {
    const why = `If-Match does not name the content, which is ${etag}: ask without it to get what is here`
    return { status: 412, headers: {}, why }
  }
  const isHead = method === 'HEAD'
  // RFC 9110 §14.2: ranges are defined for GET alone.
  const isPartWanted = hasRanges && !isHead && isRangeWanted(headers['if-range']?.toString(), etag)
  const range = isPartWanted ? headers.range : undefined
  const asked = parseRanges(range, sizeBytes)
  switch (asked.kind) {
    case 'whole': {
      const whole = isHead || sizeBytes === 0 ? [] : [{ start: 0, end: sizeBytes - 1 }]
      const length = { 'content-type': mediaType, 'content-length': sizeBytes }
      return { status: 200, headers: { ...always, ...length }, body: whole }
    }
    case 'part': {
      const part = {
        'content-type': mediaType,
        'content-range': contentRange(asked.range, sizeBytes),
        'content-length': asked.range.end - asked.range.start + 1,
      }
      return { status: 206, headers: { ...always, ...part }, body: [asked.range] }
    }
    case 'parts': {
      const { contentType, lengthBytes, body } = multipartByteRanges(asked.ranges, { sizeBytes, mediaType })
      const parts = { 'content-type': contentType, 'content-length': lengthBytes }
      return { status: 206, headers: { ...always, ...parts }, body }
    }
    case 'malformed':
    case 'unsatisfiable': {
      const text = (range ?? '').slice(0, 64)
      const what =
        asked.kind === 'malformed'
          ? `Range "${text}" cannot be read`
          : `the content has ${sizeBytes} bytes, none of them in Range "${text}"`
      const why = `${what}: write bytes=<first>-<last>, bytes=<first>- or bytes=-<how many from the end>, or up to ${MAX_RANGES} of these with commas`
      return { status: 416, headers: { 'content-range': `bytes */${sizeBytes}` }, why }
    }
  }
}

/**
 * Frames several ranges as one body. Source: RFC 9110 §14.6; RFC 2046 §5.1.1.
 * @param boundary must not be in the content: what nobody can guess is not
 */
export function multipartByteRanges(
  ranges: readonly ByteRange[],
  { sizeBytes, mediaType }: Pick<Content, 'sizeBytes' | 'mediaType'>,
  boundary: string = randomUUID(),
): { readonly contentType: string; readonly lengthBytes: number; readonly body: readonly BodyPart[] } {
  const body: BodyPart[] = []
  let lengthBytes = 0
  const frame = (text: string) => {
    const bytes = Buffer.from(text, 'latin1')
    lengthBytes += bytes.byteLength
    body.push(bytes)
  }
  ranges.forEach((range, at) => {
    const head = `content-type: ${mediaType}\r\ncontent-range: ${contentRange(range, sizeBytes)}`
    frame(`${at === 0 ? '' : '\r\n'}--${boundary}\r\n${head}\r\n\r\n`)
    lengthBytes += range.end - range.start + 1
    body.push(range)
  })
  frame(`\r\n--${boundary}--\r\n`)
  return { contentType: `multipart/byteranges; boundary=${boundary}`, lengthBytes, body }
}

function contentRange({ start, end }: ByteRange, sizeBytes: number): string {
  return `bytes ${start}-${end}/${sizeBytes}`
}
