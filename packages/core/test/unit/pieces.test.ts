import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HaveSet, PieceLayout, pieceSizeFor } from '../../src/index.ts'

const anySize = fc.integer({ min: 0, max: 64 * 1024 ** 3 })

describe('PieceLayout', () => {
  it('covers the blob exactly', () => {
    fc.assert(
      fc.property(anySize, (size) => {
        const layout = new PieceLayout(size)
        expect(layout.count === 0).toBe(size === 0)
        if (size === 0) return
        const last = layout.count - 1
        expect(layout.offset(last) + layout.length(last)).toBe(size)
        expect(layout.indexAt(size - 1)).toBe(last)
        expect(layout.length(last)).toBeGreaterThan(0)
        expect(() => layout.length(layout.count)).toThrow(RangeError)
      }),
    )
  })

  it('has power-of-two pieces, and 65 to 128 of them where the bounds of a piece allow', () => {
    fc.assert(
      fc.property(fc.integer({ min: 32 * 1024 ** 2 + 1, max: 2 * 1024 ** 3 }), (size) => {
        const { pieceSize, count } = new PieceLayout(size)
        expect(Math.log2(pieceSize) % 1).toBe(0)
        expect(count).toBeGreaterThan(64)
        expect(count).toBeLessThanOrEqual(128)
      }),
    )
    expect(pieceSizeFor(1)).toBe(512 * 1024)
    expect(pieceSizeFor(300 * 1024 ** 2)).toBe(4 * 1024 ** 2)
    expect(pieceSizeFor(100 * 1024 ** 3)).toBe(16 * 1024 ** 2)
  })

  it.each([-1, 1.5, Number.NaN, 2 ** 53])('refuses %d bytes', (size) => {
    expect(() => new PieceLayout(size)).toThrow(RangeError)
  })
})

describe('HaveSet', () => {
  it('agrees with a Set under any operations', () => {
    const operation = fc.tuple(fc.constantFrom('add', 'delete'), fc.nat(99))
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
        const have = new HaveSet(100)
        const model = new Set<number>()
        for (const [name, piece] of operations) {
          if (name === 'add') expect(have.add(piece)).toBe(!model.has(piece) && model.add(piece) !== undefined)
          else expect(have.delete(piece)).toBe(model.delete(piece))
        }
        expect(have.held).toBe(model.size)
        expect(have.isComplete).toBe(model.size === 100)
        for (let i = 0; i < 100; i++) expect(have.has(i)).toBe(model.has(i))
        expect(HaveSet.fromBytes(have.toBytes(), 100)?.held).toBe(model.size)
      }),
    )
  })

  it('shares its bits with a second view of the same memory', () => {
    const memory = new SharedArrayBuffer(HaveSet.byteLength(20))
    const writer = new HaveSet(20, memory)
    const reader = new HaveSet(20, memory)
    writer.add(13)
    expect(reader.has(13)).toBe(true)
  })

  it('refuses bytes that name pieces past the last', () => {
    expect(HaveSet.fromBytes(Uint8Array.of(0b1111), 4)?.isComplete).toBe(true)
    expect(HaveSet.fromBytes(Uint8Array.of(0b10000), 4)).toBeUndefined()
    expect(HaveSet.fromBytes(Uint8Array.of(0, 0), 4)).toBeUndefined()
    expect(HaveSet.fromBytes(new Uint8Array(0), 4)?.held).toBe(0)
  })

  it('finds the first missing piece', () => {
    const have = new HaveSet(3)
    have.add(0)
    have.add(1)
    expect(have.firstMissing()).toBe(2)
    have.add(2)
    expect(have.firstMissing()).toBe(3)
  })
})
