/** A part of a blob: both ends are byte offsets, both inclusive, `start <= end < size`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/**
 * What a `Range` header asks of `size` bytes.
 * - `whole`: no header, or another unit
 * - `part`: one range
 * - `parts`: two or more that share no byte, in the order of the header
 * - `unsatisfiable`: no range has a byte of the blob; answer 416
 * - `malformed`: bytes unit but no set of ranges (RFC 9110 §14.1.1), or more than `MAX_RANGES`; answer 416
 */
export type RangesRequest =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly range: ByteRange }
  | { readonly kind: 'parts'; readonly ranges: readonly ByteRange[] }
  | { readonly kind: 'unsatisfiable' }
  | { readonly kind: 'malformed' }

/** As `RangesRequest`, for who sends one part only. */
export type RangeRequest = Exclude<RangesRequest, { kind: 'parts' }>

/**
 * Ranges that one request may ask for. Clients that read zstd:chunked layers (Podman, CRI-O) ask for up to 1024
 * at once. Source: containers/storage, `maxNumberMissingChunks`.
 */
export const MAX_RANGES = 2048

const SPEC = /^([0-9]*)-([0-9]*)$/

/**
 * Reads a `Range` header (RFC 9110 §14.1.2: `bytes=a-b`, `bytes=a-`, `bytes=-n`, or several of these with commas)
 * against a blob of `size` bytes. Ends beyond the blob are its end. Ranges that share bytes become one, at the place of
 * the first of them (RFC 9110 §15.3.7.2); ranges that only touch stay apart, because clients count the parts that they
 * get. Ranges without a byte of the blob are left out.
 */
export function parseRanges(header: string | undefined, size: number): RangesRequest {
  if (header === undefined) return { kind: 'whole' }
  const equals = header.indexOf('=')
  if (equals < 0) return { kind: 'malformed' }
  if (header.slice(0, equals).trim().toLowerCase() !== 'bytes') return { kind: 'whole' }
  // RFC 9110 §5.6.1.2: empty elements of a list are ignored.
  const specs = header
    .slice(equals + 1)
    .split(',')
    .map((spec) => spec.trim())
    .filter((spec) => spec !== '')
  if (specs.length === 0 || specs.length > MAX_RANGES) return { kind: 'malformed' }
  const ranges: ByteRange[] = []
  for (const spec of specs) {
    const range = parseSpec(spec, size)
    if (range === 'malformed') return { kind: 'malformed' }
    if (range !== 'unsatisfiable') ranges.push(range)
  }
  const [range, ...more] = withoutOverlaps(ranges)
  if (range === undefined) return { kind: 'unsatisfiable' }
  return more.length === 0 ? { kind: 'part', range } : { kind: 'parts', ranges: [range, ...more] }
}

/** As `parseRanges`, for who sends one part only: a request for several is one for the whole (RFC 9110 §14.2). */
export function parseRange(header: string | undefined, size: number): RangeRequest {
  const asked = parseRanges(header, size)
  return asked.kind === 'parts' ? { kind: 'whole' } : asked
}

function parseSpec(spec: string, size: number): ByteRange | 'malformed' | 'unsatisfiable' {
  const [, first, last] = SPEC.exec(spec) ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return 'malformed'
  // Numbers past 2^53 are not exact, but they are past the end of every blob too.
  if (first === '') {
    const length = Number(last)
    return length === 0 || size === 0 ? 'unsatisfiable' : { start: Math.max(0, size - length), end: size - 1 }
  }
  const start = Number(first)
  if (last !== '' && Number(last) < start) return 'malformed'
  if (start >= size) return 'unsatisfiable'
  return { start, end: last === '' ? size - 1 : Math.min(Number(last), size - 1) }
}

/** Makes one of those that share bytes, and leaves it at the place of the first of them. */
function withoutOverlaps(ranges: readonly ByteRange[]): ByteRange[] {
  const merged: { start: number; end: number; place: number }[] = []
  const ascending = ranges.map(({ start, end }, place) => ({ start, end, place })).sort((a, b) => a.start - b.start)
  for (const range of ascending) {
    const before = merged.at(-1)
    if (before === undefined || range.start > before.end) {
      merged.push(range)
    } else {
      before.end = Math.max(before.end, range.end)
      before.place = Math.min(before.place, range.place)
    }
  }
  return merged.sort((a, b) => a.place - b.place).map(({ start, end }) => ({ start, end }))
}
