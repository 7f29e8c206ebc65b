import { expect, it } from 'vitest'
import { Turns } from '../../../src/storage/turns.ts'

it('lets one work at a time for a name, in the order they came, after failures too', async () => {
  const turns = new Turns()
  const seen: string[] = []
  let working = 0
  const work = (label: string, fails = false) =>
    turns.take('name', async () => {
      expect(++working).toBe(1)
      await Promise.resolve()
      await Promise.resolve()
      seen.push(label)
      working--
      if (fails) throw new Error(label)
      return label
    })
  const results = await Promise.allSettled([work('a'), work('b', true), work('c'), work('d')])
  expect(seen).toEqual(['a', 'b', 'c', 'd'])
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
})

it('does not make one name wait for another', async () => {
  const turns = new Turns()
  const gate = Promise.withResolvers<void>()
  const slow = turns.take('slow', () => gate.promise)
  expect(await turns.take('fast', async () => 'done')).toBe('done')
  gate.resolve()
  await slow
})
