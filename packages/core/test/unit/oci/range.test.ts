import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRange } from '../../../src/index.ts'

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
    ['bytes=500-0', 1000, { kind: 'unsatisfiable' }],
    ['bytes=-0', 10, { kind: 'unsatisfiable' }],
    ['bytes=0-', 0, { kind: 'unsatisfiable' }],
    ['bytes=-1', 0, { kind: 'unsatisfiable' }],
    ['bytes=', 10, { kind: 'malformed' }],
    ['bytes=-', 10, { kind: 'malformed' }],
    ['bytes=a-b', 10, { kind: 'malformed' }],
    ['bytes=1-2-3', 10, { kind: 'malformed' }],
    ['0-3', 10, { kind: 'malformed' }],
    ['bytes=99999999999999999-', 10, { kind: 'malformed' }],
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
      fc.constantFrom('', '007', '9007199254740993', '9999999999999999'),
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

/** RFC 9110 §14.1.2, byte by byte; for blobs of a few bytes. */
function slowRange(header: string, size: number): ReturnType<typeof parseRange> {
  const [unit = '', ...others] = header.split('=')
  const isDigits = (text: string) => [...text].every((character) => character >= '0' && character <= '9')
  if (others.length === 0) return { kind: 'malformed' }
  if (unit.trim().toLowerCase() !== 'bytes') return { kind: 'whole' }
  const set = others.join('=')
  if (set.includes(',')) return { kind: 'whole' }
  const [first = '', last, ...more] = set.trim().split('-')
  if (last === undefined || more.length > 0 || !isDigits(first) || !isDigits(last)) return { kind: 'malformed' }
  if (first.length > 16 || last.length > 16 || (first === '' && last === '')) return { kind: 'malformed' }
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
