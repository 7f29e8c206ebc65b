import { expect, it } from 'vitest'
import { ChosenFetchers } from '../../../src/download/chosen-fetchers.ts'

const of = (peerId: string) => ({ peerId, size: 7 })

it('chooses the first that asks, for as long as it asks', () => {
  const chosen = new ChosenFetchers()
  expect(chosen.of('d', 0)).toBeUndefined()
  chosen.choose('d', of('a'), 0)
  chosen.choose('d', of('b'), 1000)
  chosen.choose('e', of('b'), 1000)
  expect([chosen.of('d', 3000), chosen.of('e', 3000)]).toEqual([of('a'), of('b')])
  chosen.choose('d', of('a'), 3000)
  chosen.choose('d', of('b'), 6000)
  expect(chosen.of('d', 6000)).toEqual(of('a'))
  expect(chosen.of('d', 6001)).toBeUndefined()
  chosen.choose('d', of('b'), 6001)
  expect(chosen.of('d', 6001)).toEqual(of('b'))
})

it('remembers so many and no more', () => {
  const chosen = new ChosenFetchers()
  for (let i = 0; i < 1001; i++) chosen.choose(`d${i}`, of('a'), 0)
  expect(chosen.of('d0', 0)).toBeUndefined()
  expect(chosen.of('d1000', 0)).toEqual(of('a'))
})
