import { HaveSet } from '@shoal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PieceTurns } from '../../../src/download/piece-turns.ts'

const PIECES = 64

const nodes = (count: number, has: (node: number, piece: number) => boolean) =>
  Array.from({ length: count }, (_, node) => {
    const have = new HaveSet(PIECES)
    for (let piece = 0; piece < PIECES; piece++) if (has(node, piece)) have.add(piece)
    return { peerId: `12D3KooW${node}`, have }
  })

type Nodes = ReturnType<typeof nodes>

const turnsOf = (all: Nodes) =>
  new Map(
    all.map(
      (node) =>
        [
          node,
          new PieceTurns(
            node.peerId,
            all.filter((other) => other !== node),
          ),
        ] as const,
    ),
  )

describe('the turns of nodes that miss a piece', () => {
  it('are those of as many as hold it, whoever of them is asked', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 5 }),
        fc.infiniteStream(fc.boolean()),
        (count, holders, coin) => {
          const all = nodes(count, () => coin.next().value)
          const turns = turnsOf(all)
          for (let piece = 0; piece < PIECES; piece++) {
            const missing = all.filter(({ have }) => !have.has(piece))
            const own = missing.filter((node) => turns.get(node)?.isOwn(piece, holders))
            expect(own).toHaveLength(Math.min(holders, missing.length))
          }
        },
      ),
    )
  })

  it('fall to all of them alike', () => {
    const all = nodes(4, () => false)
    for (const turns of turnsOf(all).values()) {
      const own = Array.from({ length: PIECES }, (_, piece) => piece).filter((piece) => turns.isOwn(piece, 1))
      expect(own.length).toBeGreaterThan(PIECES / 8)
      expect(own.length).toBeLessThan(PIECES / 2)
    }
  })
})
