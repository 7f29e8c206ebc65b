import { expect, it } from 'vitest'
import { Walks } from '../../../src/swarm/walks.ts'

it('knows for some seconds who answered the last walk, also while it goes on', () => {
  const walks = new Walks()
  expect(walks.recent('d', 0)).toBeUndefined()
  walks.begin('d', 0).add('a')
  const answered = walks.begin('d', 1000)
  expect(walks.recent('d', 1000)).toEqual(new Set())
  answered.add('b')
  expect(walks.recent('d', 6000)).toEqual(new Set(['b']))
  expect(walks.recent('d', 6001)).toBeUndefined()
  expect(walks.recent('e', 1000)).toBeUndefined()
})

it('remembers the last few hundred', () => {
  const walks = new Walks()
  for (let i = 0; i < 300; i++) walks.begin(`d${i}`, 0)
  expect(walks.recent('d0', 0)).toBeUndefined()
  expect(walks.recent('d299', 0)).toEqual(new Set())
})
