import { beforeEach, expect, it } from 'vitest'
import { type KnownHolder, KnownHolders } from '../../../src/download/known-holders.ts'
import { holdingsOf } from '../swarm/holdings-of.ts'

const size = 3 * 512 * 1024
let known: KnownHolders
const view = (peerId: string, held: number[], isFetching = false) => ({
  ...holdingsOf(size, held, isFetching),
  peerId,
  host: 'h',
  port: 1,
})
const only = (nowMs = 0) => known.at(nowMs)[0] as KnownHolder

beforeEach(() => {
  known = new KnownHolders()
  known.update(view('a', [0, 1]))
})

it('knows what a node said last', () => {
  known.update(view('a', [2]))
  expect(known.ids).toEqual(['a'])
  expect(only().have.toBytes()).toEqual(new Uint8Array([4]))
  known.forget('a')
  expect(known.ids).toEqual([])
})

it('has hope in who holds something that is missing, fetches from the origin, or names who does', () => {
  expect(known.hasAny(3, (piece) => piece === 1)).toBe(true)
  expect(known.hasAny(3, (piece) => piece === 2)).toBe(false)
  known.update(view('a', [], true))
  expect(known.hasAny(3, () => true)).toBe(true)
  known.update({ ...view('a', []), fetcher: 'b' })
  expect(known.hasAny(3, () => true)).toBe(true)
  known.update(view('a', []))
  expect(known.hasAny(3, () => true)).toBe(false)
})

it('asks nobody for more than some pieces at once', () => {
  only().inFlight = 4
  expect(only().isFree).toBe(false)
  only().inFlight = 3
  expect(only().isFree).toBe(true)
})

it('asks who has all, or fetches all from the origin, for fewer', () => {
  expect(only().isSource).toBe(false)
  only().inFlight = 2
  for (const source of [view('a', [0, 1, 2]), view('a', [0], true)]) {
    known.update(source)
    expect([only().isSource, only().isFree]).toEqual([true, false])
  }
  only().inFlight = 1
  expect(only().isFree).toBe(true)
})

it('leaves a busy holder alone for a moment, and takes the word of one that does not hold a piece', () => {
  known.failed(only(), 0, 'busy', 100)
  expect([only(349).isFree, only(350).isFree]).toEqual([false, true])
  known.failed(only(), 0, 'notHeld', 400)
  expect([only(400).isFree, only(400).have.has(0), only(400).have.has(1)]).toEqual([true, false, true])
})

it.each(['corrupt', 'protocol'] as const)('leaves a holder for good at the first %s piece', (code) => {
  known.failed(only(), 0, code, 0)
  expect(known.isBarred('a')).toBe(true)
  known.update(view('a', [0]))
  expect(known.at(0)).toEqual([])
})

it('gives a silent holder more and more time, and leaves it at the third failure in a row', () => {
  known.failed(only(), 0, 'stalled', 0)
  expect([only(999).isFree, only(1000).isFree]).toEqual([false, true])
  known.failed(only(), 0, 'unreachable', 1000)
  expect([only(2999).isFree, only(3000).isFree]).toEqual([false, true])
  known.succeeded(only())
  known.failed(only(), 0, 'stalled', 3000)
  known.failed(only(), 0, 'stalled', 4000)
  expect(known.isBarred('a')).toBe(false)
  known.failed(only(), 0, 'stalled', 6000)
  expect(known.isBarred('a')).toBe(true)
})

it.each(['self', 'otherPeer', 'handshake'] as const)(
  'finds no fault with a holder in whose place %s answers: it is as one that is not reached',
  (code) => {
    known.failed(only(), 0, code, 0)
    expect(known.isBarred('a')).toBe(false)
    expect([only(999).isFree, only(1000).isFree]).toEqual([false, true])
  },
)

it('counts what fails together once', () => {
  for (let piece = 0; piece < 4; piece++) known.failed(only(), piece, 'stalled', 0)
  expect(known.isBarred('a')).toBe(false)
  expect([only(999).isFree, only(1000).isFree]).toEqual([false, true])
})

it('believes what a node said for two questions that it does not answer', () => {
  known.askFailed('a')
  known.askFailed('a')
  known.update(view('a', [0]))
  known.askFailed('a')
  known.askFailed('a')
  expect(known.ids).toEqual(['a'])
  known.askFailed('a')
  expect(known.ids).toEqual([])
})
