import fc from 'fast-check'
import { expect, it } from 'vitest'
import { SessionNumbers } from '../../../src/coordination/session-numbers.ts'

it('a number stands for its node while the session lives, however many came and went', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ skipped: fc.nat(3000), ends: fc.nat() })), (steps) => {
      const numbers = new SessionNumbers()
      const model = new Map<number, number>()
      let number = 0
      for (const [index, { skipped, ends }] of steps.entries()) {
        number += 1 + skipped
        numbers.add(number, index)
        model.set(number, index)
        const old = [...model.keys()][ends % (2 * model.size)]
        if (old !== undefined) {
          numbers.delete(old)
          model.delete(old)
        }
        for (let known = number; known > number - 10; known--) expect(numbers.indexOf(known)).toBe(model.get(known))
        for (const [known, of] of model) expect(numbers.indexOf(known)).toBe(of)
      }
    }),
  )
})
