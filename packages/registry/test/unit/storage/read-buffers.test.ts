import { expect, it } from 'vitest'
import { ReadBuffers } from '../../../src/storage/read-buffers.ts'

const KIB = 1024
const MIB = 1024 * KIB

it('gives no more than is to come', () => {
  const buffers = new ReadBuffers()
  expect([1, 256 * KIB, 256 * KIB + 1].map((bytes) => buffers.take(bytes).byteLength)).toEqual([1, 256 * KIB, MIB])
})

it('gives 32 large buffers, then small ones until one is back', () => {
  const buffers = new ReadBuffers()
  const taken = Array.from({ length: 40 }, () => buffers.take(10 * MIB))
  expect(taken.map(({ byteLength }) => byteLength)).toEqual([
    ...new Array(32).fill(MIB),
    ...new Array(8).fill(256 * KIB),
  ])
  for (const buffer of taken) buffers.giveBack(buffer, false)
  expect(Array.from({ length: 33 }, () => buffers.take(10 * MIB).byteLength).filter((is) => is === MIB)).toHaveLength(
    32,
  )
})

it('gives spares while few are out', () => {
  const buffers = new ReadBuffers()
  const taken = Array.from({ length: 7 }, () => buffers.take(10 * MIB))
  expect(buffers.takeSpare()?.byteLength).toBe(MIB)
  expect(buffers.takeSpare()).toBeUndefined()
  for (const buffer of taken) buffers.giveBack(buffer, true)
  expect(buffers.takeSpare()).toBeDefined()
})

it('gives a large one again that nobody uses, and never one that somebody may', () => {
  const buffers = new ReadBuffers()
  const [idle, busy] = [buffers.take(MIB), buffers.take(MIB)]
  buffers.giveBack(busy, false)
  buffers.giveBack(idle, true)
  expect(buffers.take(MIB)).toBe(idle)
  expect(buffers.take(MIB)).not.toBe(busy)
})
