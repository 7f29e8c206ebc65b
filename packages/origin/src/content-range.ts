/** What a `Content-Range` header says. Both ends are inclusive byte offsets. */
export interface ContentRange {
  readonly start: number
  readonly end: number
  /** Bytes of the whole; undefined when the server does not say (`*`). */
  readonly total: number | undefined
}

const PART = /^bytes[ \t]+([0-9]{1,16})-([0-9]{1,16})\/([0-9]{1,16}|\*)$/i
const UNSATISFIED = /^bytes[ \t]+\*\/([0-9]{1,16})$/i

/** Reads the `Content-Range` of a 206 (RFC 9110 §14.4); undefined when it is malformed or contradicts itself. */
export function parseContentRange(header: string | undefined): ContentRange | undefined {
  const match = header === undefined ? null : PART.exec(header.trim())
  if (match === null) return undefined
  const start = Number(match[1])
  const end = Number(match[2])
  const total = match[3] === '*' ? undefined : Number(match[3])
  if (end < start || (total !== undefined && end >= total)) return undefined
  return { start, end, total }
}

/** The whole length that a 416's `Content-Range` tells; undefined when it tells none. */
export function parseUnsatisfiedRange(header: string | undefined): number | undefined {
  const match = header === undefined ? null : UNSATISFIED.exec(header.trim())
  return match === null ? undefined : Number(match[1])
}
