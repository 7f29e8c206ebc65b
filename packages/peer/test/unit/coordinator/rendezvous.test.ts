import { digestOf } from '@shoal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { schedulerOf } from '../../../src/coordinator/rendezvous.ts'

const address = fc
  .tuple(fc.constantFrom('scheduler-', '10.0.0.', 'a', 's.example.'), fc.integer({ min: 0, max: 99 }), fc.integer())
  .map(([host, number, port]) => `${host}${number}:${(port >>> 0) % 65536}`)
const addresses = fc.uniqueArray(address, { minLength: 1, maxLength: 16 })
const digest = fc.string().map((content) => digestOf(content))

describe('the scheduler of a blob', () => {
  it('is the same in whatever order the addresses are known', () => {
    fc.assert(
      fc.property(digest, addresses, fc.infiniteStream(fc.nat()), (blob, known, random) => {
        const weights = new Map(known.map((each) => [each, random.next().value as number]))
        const shuffled = [...known].sort((a, b) => (weights.get(a) ?? 0) - (weights.get(b) ?? 0))
        expect(schedulerOf(blob, shuffled)).toBe(schedulerOf(blob, known))
      }),
    )
  })

  it('changes only when it goes, or the one that comes takes over', () => {
    fc.assert(
      fc.property(digest, addresses, fc.nat(), (blob, known, which) => {
        const gone = known[which % known.length] as string
        const [before, after] = [
          schedulerOf(blob, known),
          schedulerOf(
            blob,
            known.filter((each) => each !== gone),
          ),
        ]
        if (before !== gone) expect(after).toBe(before)
        else expect(after).not.toBe(gone)
      }),
    )
  })

  it('is nobody when there is nobody', () => {
    expect(schedulerOf(digestOf(''), [])).toBeUndefined()
  })

  it.each([
    ['last letter', (i: number) => `10.0.0.${i}:7400`],
    ['port', (i: number) => `127.0.0.1:${7400 + 2 * i}`],
    ['name', (i: number) => `scheduler-${i}.scheduler.shoal.svc:7400`],
  ])('is any of them equally often, when they differ in the %s', (_what, addressOf) => {
    for (const count of [2, 3, 5, 16]) {
      const known = Array.from({ length: count }, (_, i) => addressOf(i))
      const [blobs, blobsOf] = [20_000, new Map<string, number>()]
      for (let i = 0; i < blobs; i++) {
        const owner = schedulerOf(digestOf(`blob ${i}`), known) as string
        blobsOf.set(owner, (blobsOf.get(owner) ?? 0) + 1)
      }
      const fair = blobs / count
      // Five standard deviations.
      const most = 5 * Math.sqrt(fair * (1 - 1 / count))
      for (const each of known) expect(Math.abs((blobsOf.get(each) ?? 0) - fair)).toBeLessThan(most)
    }
  })

  it('hands the blobs of one that goes to all others alike', () => {
    const known = Array.from({ length: 5 }, (_, i) => `scheduler-${i}:7400`)
    const [gone, ...left] = known as [string, ...string[]]
    const moved = Array.from({ length: 20_000 }, (_, i) => digestOf(`blob ${i}`)).filter(
      (blob) => schedulerOf(blob, known) === gone,
    )
    for (const each of left) {
      const share = moved.filter((blob) => schedulerOf(blob, left) === each).length / moved.length
      expect(Math.abs(share - 1 / 4)).toBeLessThan(0.05)
    }
  })
})
