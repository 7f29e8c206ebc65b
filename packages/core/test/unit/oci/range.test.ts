import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_RANGES, parseRange, parseRanges } from '../../../src/index.ts'

describe('parseRange', () => {
  it.each([
    [undefined, 10, { kind: 'whole' }],
    ['bytes=0-3', 10, { kind: 'part', range: { start: 0, end: 3 } }],
    ['bytes=4-', 10, { kind: 'part', range: { start: 4, end: 9 } }],
    ['bytes=-3', 10, { kind: 'part', range: { start: 7, end: 9 } }],
    ['bytes=-30', 10, { kind: 'part', range: { start: 0, end: 9 } }],
    ['bytes=5-999', 10, { kind: 'part', range: { start: 5, end: 9 } }],
    ['BYTES=0-0', 10, { kind: 'part', range: { start: 0, end: 0 } }],
    ['bytes=10-', 10, { kind: 'unsatisfiable' }],
    ['bytes=500-0', 1000, { kind: 'malformed' }],
    ['bytes=-0', 10, { kind: 'unsatisfiable' }],
    ['bytes=0-', 0, { kind: 'unsatisfiable' }],
    ['bytes=-1', 0, { kind: 'unsatisfiable' }],
    ['bytes=', 10, { kind: 'malformed' }],
    ['bytes=-', 10, { kind: 'malformed' }],
    ['bytes=a-b', 10, { kind: 'malformed' }],
    ['bytes=1-2-3', 10, { kind: 'malformed' }],
    ['0-3', 10, { kind: 'malformed' }],
    ['bytes=99999999999999999-', 10, { kind: 'unsatisfiable' }],
    ['bytes=0-9223372036854775807', 10, { kind: 'part', range: { start: 0, end: 9 } }],
    [`bytes=3-${'9'.repeat(500)}`, 10, { kind: 'part', range: { start: 3, end: 9 } }],
    [`bytes=-${'9'.repeat(500)}`, 10, { kind: 'part', range: { start: 0, end: 9 } }],
    ['items=0-3', 10, { kind: 'whole' }],
    ['bytes=0-1,3-4', 10, { kind: 'whole' }],
  ])('%s of %i bytes', (header, size, expected) => {
    expect(parseRange(header, size)).toEqual(expected)
  })

  it('never leaves the blob, whatever it is given', () => {
    const anyHeader = fc.oneof(
      fc.string(),
      fc.tuple(fc.nat(), fc.nat()).map(([a, b]) => `bytes=${a}-${b}`),
      fc.string({ unit: fc.constantFrom(...'0123456789-, =') }).map((rest) => `bytes=${rest}`),
    )
    fc.assert(
      fc.property(anyHeader, fc.nat(), (header, size) => {
        const request = parseRange(header, size)
        if (request.kind !== 'part') return
        const { start, end } = request.range
        expect(Number.isSafeInteger(start) && Number.isSafeInteger(end)).toBe(true)
        expect(start).toBeGreaterThanOrEqual(0)
        expect(end).toBeGreaterThanOrEqual(start)
        expect(end).toBeLessThan(size)
      }),
      { numRuns: 5000 },
    )
  })

  it('selects the bytes that a walk over all of them selects', () => {
    const number = fc.oneof(
      fc.nat({ max: 40 }).map(String),
      fc.constantFrom('', '007', '9007199254740993', '9223372036854775807', '99999999999999999999999'),
    )
    const spec = fc.oneof(
      fc.tuple(number, number).map(([first, last]) => `${first}-${last}`),
      fc.string({ unit: fc.constantFrom(...'01-9 x+.'), maxLength: 5 }),
    )
    const unit = fc.constantFrom('bytes=', 'Bytes=', ' bytes =', 'bytes= ', 'bytes', 'octets=', '=', '')
    const header = fc.oneof(
      fc.tuple(unit, fc.array(spec, { minLength: 1, maxLength: 2 })).map(([name, specs]) => name + specs.join(',')),
      spec.map((text) => `bytes=${text}`),
    )
    const kinds = new Set<string>()
    fc.assert(
      fc.property(header, fc.nat({ max: 30 }), (text, size) => {
        const found = parseRange(text, size)
        kinds.add(found.kind)
        expect(found).toEqual(slowRange(text, size))
      }),
      { numRuns: 50_000 },
    )
    expect(kinds.size).toBe(4)
  })
})

describe('parseRanges', () => {
  const parts = (...ranges: [number, number][]) => ({
    kind: 'parts',
    ranges: ranges.map(([start, end]) => ({ start, end })),
  })
  it.each([
    ['bytes=0-1,3-4', parts([0, 1], [3, 4])],
    ['bytes=6-7, 0-1 ,,\t-1', parts([6, 7], [0, 1], [9, 9])],
    ['bytes=0-1,2-3', parts([0, 1], [2, 3])],
    ['bytes=8-9,0-3,2-5', parts([8, 9], [0, 5])],
    ['bytes=4-4,0-0,4-6,0-2', parts([4, 6], [0, 2])],
    ['bytes=0-1,20-30', { kind: 'part', range: { start: 0, end: 1 } }],
    ['bytes=0-5,3-9', { kind: 'part', range: { start: 0, end: 9 } }],
    ['bytes=0-,0-,0-', { kind: 'part', range: { start: 0, end: 9 } }],
    ['bytes=10-,20-30', { kind: 'unsatisfiable' }],
    ['bytes=0-1,4-3', { kind: 'malformed' }],
    ['bytes=0-1,x', { kind: 'malformed' }],
    ['bytes=,', { kind: 'malformed' }],
  ])('%s of 10 bytes', (header, expected) => expect(parseRanges(header, 10)).toEqual(expected))

  it('refuses more ranges than it has room for', () => {
    const some = (count: number) => `bytes=${Array.from({ length: count }, (_, at) => `${at * 2}-${at * 2}`)}`
    expect(parseRanges(some(MAX_RANGES), 10_000)).toMatchObject({ kind: 'parts', ranges: { length: MAX_RANGES } })
    expect(parseRanges(some(MAX_RANGES + 1), 10_000)).toEqual({ kind: 'malformed' })
  })

  it('selects each byte that a range selects, once', () => {
    const number = fc.nat({ max: 40 })
    const spec = fc.oneof(
      fc.tuple(number, number).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
      number.map((n) => `${n}-`),
      number.map((n) => `-${n}`),
    )
    fc.assert(
      fc.property(fc.array(spec, { minLength: 1, maxLength: 8 }), fc.nat({ max: 30 }), (specs, size) => {
        const found = parseRanges(`bytes=${specs}`, size)
        const bytesOf = ({ start, end }: { start: number; end: number }) =>
          Array.from({ length: end - start + 1 }, (_, at) => start + at)
        const ranges = found.kind === 'parts' ? found.ranges : found.kind === 'part' ? [found.range] : []
        const wanted = specs.flatMap((one) => {
          const single = slowRange(`bytes=${one}`, size)
          return single.kind === 'part' ? bytesOf(single.range) : []
        })
        const ascending = (bytes: Iterable<number>) => [...bytes].sort((a, b) => a - b)
        expect(ascending(ranges.flatMap(bytesOf))).toEqual(ascending(new Set(wanted)))
        // The first part begins with what was asked first.
        if (ranges[0] !== undefined) expect(bytesOf(ranges[0])).toContain(wanted[0])
      }),
      { numRuns: 5000 },
    )
  })
})

/** RFC 9110 §14.1.2, byte by byte; for blobs of a few bytes. */
function slowRange(header: string, size: number): ReturnType<typeof parseRange> {
  const [unit = '', ...others] = header.split('=')
  const isDigits = (text: string) => [...text].every((character) => character >= '0' && character <= '9')
  if (others.length === 0) return { kind: 'malformed' }
  if (unit.trim().toLowerCase() !== 'bytes') return { kind: 'whole' }
  const set = others.join('=')
  const specs = set.split(',').filter((spec) => spec.trim() !== '')
  if (specs.length > 1) {
    const parts = specs.map((spec) => slowRange(`bytes=${spec}`, size))
    if (parts.some(({ kind }) => kind === 'malformed')) return { kind: 'malformed' }
    const ranges = parts.flatMap((part) => (part.kind === 'part' ? [part.range] : []))
    const [one, other] = ranges
    if (one === undefined) return { kind: 'unsatisfiable' }
    if (other === undefined) return { kind: 'part', range: one }
    if (one.end < other.start || other.end < one.start) return { kind: 'whole' }
    const range = { start: Math.min(one.start, other.start), end: Math.max(one.end, other.end) }
    return { kind: 'part', range }
  }
  const [first = '', last, ...more] = (specs[0] ?? '').trim().split('-')
  if (last === undefined || more.length > 0 || !isDigits(first) || !isDigits(last)) return { kind: 'malformed' }
  if (first === '' && last === '') return { kind: 'malformed' }
  if (first !== '' && last !== '' && BigInt(last) < BigInt(first)) return { kind: 'malformed' }
  const selected: number[] = []
  for (let byte = 0; byte < size; byte++) {
    const isSuffix = first === ''
    const isFromStart = BigInt(byte) >= BigInt(first) && (last === '' || BigInt(byte) <= BigInt(last))
    if (isSuffix ? BigInt(size - byte) <= BigInt(last) : isFromStart) selected.push(byte)
  }
  const [start] = selected
  const end = selected.at(-1)
  return start === undefined || end === undefined ? { kind: 'unsatisfiable' } : { kind: 'part', range: { start, end } }
}
