import { expect, it } from 'vitest'
import { QuestionRate } from '../../../src/swarm/question-rate.ts'

it('lets each node ask its burst at once and its rate in the long run, whatever others ask', () => {
  const rate = new QuestionRate({ burst: 3, perSecond: 2, maxNodes: 10 })
  expect([0, 0, 0, 0].map((nowMs) => rate.take('a', nowMs))).toEqual([true, true, true, false])
  expect(rate.take('b', 0)).toBe(true)
  expect([499, 500, 501].map((nowMs) => rate.take('a', nowMs))).toEqual([false, true, false])
  let taken = 0
  for (let nowMs = 10_000; nowMs < 20_000; nowMs++) if (rate.take('a', nowMs)) taken++
  expect(taken).toBe(3 + 19)
})

it('forgets who was quiet for longest', () => {
  const rate = new QuestionRate({ burst: 1, perSecond: 0.001, maxNodes: 2 })
  for (const peerId of ['a', 'b', 'c']) expect(rate.take(peerId, 0)).toBe(true)
  expect(rate.take('c', 0)).toBe(false)
  expect(rate.take('a', 0)).toBe(true)
})
