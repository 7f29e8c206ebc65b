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
})
