import { HaveSet } from '@shoal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { choosePiece, type PieceChoiceView, type PieceHolder } from '../../../src/download/piece-choice.ts'

interface Named extends PieceHolder {
  readonly name: number
}

const haveOf = (count: number, held: readonly boolean[]) => {
  const have = new HaveSet(count)
  for (let piece = 0; piece < count; piece++) if (held[piece]) have.add(piece)
  return have
}

const holder = (have: string, isFree = true, inFlight = 0, isSource = false): PieceHolder => ({
  have: haveOf(
    have.length,
    [...have].map((bit) => bit === '1'),
  ),
  isFree,
  inFlight,
  isSource,
})

/** Of a node that is alone. */
const alone: Pick<PieceChoiceView<PieceHolder>, 'isTurn' | 'outOfTurn'> = { isTurn: () => true, outOfTurn: 'none' }

const choose = (holders: readonly PieceHolder[], open: string, random = () => 0, turns = alone) =>
  choosePiece({ count: open.length, isOpen: (piece) => open[piece] === '1', holders, ...turns }, random)

/** Holders with any have-sets, and which pieces are open. */
const situations = fc.integer({ min: 1, max: 24 }).chain((count) =>
  fc.record({
    count: fc.constant(count),
    open: fc.array(fc.boolean(), { minLength: count, maxLength: count }),
    holders: fc.array(
      fc
        .record({
          held: fc.array(fc.boolean(), { minLength: count, maxLength: count }),
          isFree: fc.boolean(),
          inFlight: fc.integer({ min: 0, max: 4 }),
          isSource: fc.boolean(),
        })
        .map(({ held, ...rest }) => ({ have: haveOf(count, held), ...rest })),
      { maxLength: 6 },
    ),
  }),
)
const chances = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

describe('the choice of a piece', () => {
  it('is the rarest, by chance between equals', () => {
    expect(choose([holder('1111'), holder('1100'), holder('0110')], '1111')?.piece).toBe(3)
    expect(choose([holder('1111'), holder('1111')], '0111', () => 0)?.piece).toBe(1)
    expect(choose([holder('1111'), holder('1111')], '0111', () => 0.99)?.piece).toBe(3)
  })

  it('differs between nodes that miss the same pieces and know one holder', () => {
    const nodes = 16
    const pieces = '1'.repeat(64)
    const chosen = Array.from({ length: nodes }, (_, node) => choose([holder(pieces)], pieces, () => node / nodes))
    expect(new Set(chosen.map((choice) => choice?.piece)).size).toBe(nodes)
  })

  it('counts holders that are not free, but does not ask them', () => {
    const busy = holder('0011', false)
    const free = holder('1110')
    expect(choose([busy, free], '1111', () => 0)).toEqual({ piece: 0, holder: free })
    expect(choose([busy], '1111')).toBeUndefined()
  })

  it('goes to who sends the fewest, and by chance between equals', () => {
    const [a, b, c] = [holder('1', true, 2), holder('1', true, 1), holder('1', true, 1)]
    expect(choose([a, b, c], '1', () => 0)?.holder).toBe(b)
    expect(choose([a, b, c], '1', () => 0.99)?.holder).toBe(c)
  })

  it('spares who has all of it, unless the others are busier', () => {
    const source = (inFlight: number) => holder('11', true, inFlight, true)
    const peer = (inFlight: number) => holder('10', true, inFlight)
    expect(choose([source(0), peer(1)], '10')?.holder.isSource).toBe(false)
    expect(choose([source(0), peer(3)], '10')?.holder.isSource).toBe(true)
    expect(choose([source(0), peer(0)], '11')).toEqual({ piece: 1, holder: source(0) })
  })

  it('is of those whose turn it is; out of turn, one that most have', () => {
    const holders = [holder('1111'), holder('0110'), holder('0100')]
    const isTurn = (piece: number) => piece === 1
    expect(choose(holders, '1111', () => 0, { isTurn, outOfTurn: 'none' })?.piece).toBe(1)
    expect(choose(holders, '1111', () => 0, { isTurn, outOfTurn: 'any' })?.piece).toBe(1)
    const never = () => false
    expect(choose(holders, '1011', () => 0, { isTurn: never, outOfTurn: 'none' })).toBeUndefined()
    expect(choose(holders, '1011', () => 0, { isTurn: never, outOfTurn: 'any' })?.piece).toBe(2)
  })

  it('is out of turn nothing that only those have who have all, unless nothing else is on its way', () => {
    const source = holder('1111', true, 0, true)
    const isTurn = () => false
    expect(choose([source], '1111', () => 0, { isTurn, outOfTurn: 'shared' })).toBeUndefined()
    expect(choose([source], '1111', () => 0, { isTurn, outOfTurn: 'any' })?.piece).toBe(0)
    expect(choose([source, holder('0010')], '1111', () => 0, { isTurn, outOfTurn: 'shared' })?.piece).toBe(2)
    expect(choose([source, holder('0010', false)], '1111', () => 0, { isTurn, outOfTurn: 'shared' })).toBeUndefined()
  })

  it('is never a piece that is not open, or that its holder lacks, and always one when there is one', () => {
    fc.assert(
      fc.property(situations, chances, ({ count, open, holders }, chance) => {
        const choice = choosePiece({ count, isOpen: (piece) => open[piece] === true, holders, ...alone }, () => chance)
        const isToBeHad = (piece: number) =>
          open[piece] === true && holders.some((one) => one.isFree && one.have.has(piece))
        const pieces = Array.from({ length: count }, (_, piece) => piece).filter(isToBeHad)
        expect(choice !== undefined).toBe(pieces.length > 0)
        if (choice === undefined) return
        expect(pieces).toContain(choice.piece)
        expect(choice.holder.isFree && choice.holder.have.has(choice.piece)).toBe(true)
        const rarity = (piece: number) => holders.filter(({ have }) => have.has(piece)).length
        for (const other of pieces) expect(rarity(choice.piece)).toBeLessThanOrEqual(rarity(other))
      }),
    )
  })

  it('comes to the end when every piece has a holder that lives, though others fail', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 5 }),
        fc.infiniteStream(fc.boolean()),
        fc.infiniteStream(chances),
        (count, liars, coin, chance) => {
          const random = () => chance.next().value
          const held = () => Array.from({ length: count }, () => coin.next().value)
          // Two that live share all pieces; the others fail at each piece, and are left then.
          const [first, second] = [held(), held()]
          const living = [first, first.map((has, piece) => !has || second[piece] === true)]
          const holders: Named[] = [...living, ...Array.from({ length: liars }, held)].map((has, name) => ({
            name,
            have: haveOf(count, has),
            isFree: true,
            inFlight: 0,
            isSource: false,
          }))
          const open = new Set(Array.from({ length: count }, (_, piece) => piece))
          for (let steps = 0; open.size > 0; steps++) {
            expect(steps).toBeLessThanOrEqual(count + liars)
            const choice = choosePiece({ count, isOpen: (piece) => open.has(piece), holders, ...alone }, random)
            if (choice === undefined) throw new Error('nothing was chosen')
            if (choice.holder.name < 2) open.delete(choice.piece)
            else holders.splice(holders.indexOf(choice.holder), 1)
          }
        },
      ),
    )
  })
})
