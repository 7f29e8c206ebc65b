import { describe, expect, it } from 'vitest'
import { Avoidance } from '../../../src/core/avoidance.ts'

const CHILD = 1
const PARENT = 2

/** How long a pair is left alone from `now` on. */
function leftAloneMs(avoidance: Avoidance, now: number): number {
  let ms = 0
  while (avoidance.isAvoided(CHILD, PARENT, now + ms)) ms += 100
  return ms
}

describe('a child and a parent', () => {
  it('are left alone twice as long each time that they fail again, five minutes at the most', () => {
    const avoidance = new Avoidance()
    const times: number[] = []
    for (let now = 0; times.length < 9; now += times.at(-1) as number) {
      avoidance.sweep(now)
      avoidance.failed(CHILD, PARENT, now, 5_000)
      times.push(leftAloneMs(avoidance, now))
    }
    expect(times.map((ms) => ms / 1000)).toEqual([5, 10, 20, 40, 80, 160, 300, 300, 300])
  })

  it('fail once however many pieces fail together', () => {
    const avoidance = new Avoidance()
    for (let piece = 0; piece < 5; piece++) avoidance.failed(CHILD, PARENT, 10 * piece, 5_000)
    expect(leftAloneMs(avoidance, 40)).toBe(5_000)
  })

  it('begin anew after a success, or when nothing was heard for as long as they were left alone', () => {
    for (const isGood of [true, false]) {
      const avoidance = new Avoidance()
      avoidance.failed(CHILD, PARENT, 0, 5_000)
      if (isGood) avoidance.succeeded(CHILD, PARENT)
      else avoidance.sweep(10_000)
      avoidance.failed(CHILD, PARENT, 10_000, 5_000)
      expect(leftAloneMs(avoidance, 10_000)).toBe(5_000)
    }
  })

  it('stay apart after wrong bytes though another piece comes over', () => {
    const avoidance = new Avoidance()
    avoidance.avoid(CHILD, PARENT, 0, 600_000)
    avoidance.succeeded(CHILD, PARENT)
    expect(avoidance.isAvoided(CHILD, PARENT, 599_999)).toBe(true)
    expect(avoidance.isAvoided(PARENT, CHILD, 0)).toBe(false)
  })

  it('mean nothing for the next nodes of their indexes', () => {
    const avoidance = new Avoidance()
    avoidance.failed(CHILD, PARENT, 0, 5_000)
    avoidance.forget(PARENT)
    expect(avoidance.isAvoided(CHILD, PARENT, 0)).toBe(false)
  })
})
