import { expect, it } from 'vitest'
import { LeaseWord } from '../../../src/download/lease-word.ts'

it('is due every two seconds while there is progress, and a lease', () => {
  const word = new LeaseWord()
  expect(word.isHeld).toBe(false)
  expect(word.isDue(9000, 10_000)).toBe(false)
  word.begun(10_000)
  expect(word.isHeld).toBe(true)
  // What came before it is no progress of the lease.
  expect(word.isDue(9000, 13_000)).toBe(false)
  expect(word.isDue(11_500, 11_900)).toBe(false)
  expect(word.isDue(11_500, 12_000)).toBe(true)
  expect(word.isDue(11_500, 15_000)).toBe(false)
  expect(word.isDue(15_001, 15_001)).toBe(true)
  word.ended()
  expect(word.isHeld).toBe(false)
  expect(word.isDue(30_000, 30_000)).toBe(false)
})
