import fc from 'fast-check'
import { expect, it } from 'vitest'
import { nearestTo, placeOf } from '../../../src/swarm/distance.ts'

it('takes the nearest by XOR, whatever order they come in', () => {
  const keys = fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(keys, fc.string(), fc.integer({ min: 1, max: 4 }), (names, text, count) => {
      const target = placeOf(Buffer.from(text))
      const candidates = names.map((name) => ({ name, place: placeOf(Buffer.from(name)) }))
      const distance = (place: Uint8Array) =>
        BigInt(`0x${Buffer.from(place.map((byte, i) => byte ^ (target[i] ?? 0))).toString('hex')}`)
      const nearest = nearestTo(target, candidates, count)
      expect(nearestTo(target, [...candidates].reverse(), count)).toEqual(nearest)
      const others = candidates.filter((one) => !nearest.includes(one))
      expect(nearest).toHaveLength(Math.min(count, names.length))
      for (const near of nearest)
        for (const far of others) expect(distance(near.place) < distance(far.place)).toBe(true)
    }),
  )
})
