/** A part of a blob: both ends are byte offsets, both inclusive, `start <= end < size`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/**
 * What a `Range` header asks of `size` bytes. `whole`: no header, another unit, or several ranges (RFC 9110 §14.2
 * lets a server ignore those); `malformed`: bytes unit but not a range; `unsatisfiable`: answer 416.
 */
export type RangeRequest =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly range: ByteRange }
  | { readonly kind: 'unsatisfiable' }
  | { readonly kind: 'malformed' }

const SPEC = /^([0-9]{0,16})-([0-9]{0,16})$/

/** Reads a `Range` header (RFC 9110 §14.1.2: `bytes=a-b`, `bytes=a-`, `bytes=-n`) against a blob of `size` bytes. */
export function parseRange(header: string | undefined, size: number): RangeRequest {
  if (header === undefined) return { kind: 'whole' }
  const equals = header.indexOf('=')
  if (equals < 0) return { kind: 'malformed' }
  if (header.slice(0, equals).trim().toLowerCase() !== 'bytes') return { kind: 'whole' }
  const specs = header.slice(equals + 1)
  if (specs.includes(',')) return { kind: 'whole' }
  const match = SPEC.exec(specs.trim())
  if (match === null || (match[1] === '' && match[2] === '')) return { kind: 'malformed' }
  const [, first, last] = match as unknown as [string, string, string]
  if (first === '') {
    const length = Number(last)
    if (length === 0 || size === 0) return { kind: 'unsatisfiable' }
    return { kind: 'part', range: { start: Math.max(0, size - length), end: size - 1 } }
  }
  const start = Number(first)
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1)
  if (last !== '' && Number(last) < start) return { kind: 'unsatisfiable' }
  if (start >= size) return { kind: 'unsatisfiable' }
  return { kind: 'part', range: { start, end } }
}
