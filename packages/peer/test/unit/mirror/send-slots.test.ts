import { beforeEach, describe, expect, it, vi } from 'vitest'
import { SendSlots } from '../../../src/mirror/send-slots.ts'

describe('answers that are sent at once', () => {
  let nowMs: number
  let looks: number
  let slots: SendSlots
  const never = new AbortController().signal

  beforeEach(() => {
    nowMs = 0
    looks = 0
    slots = new SendSlots(2, () => nowMs)
  })

  const begin = async (order: string[], name: string, cut = () => void order.push(`${name} cut`)) => {
    const slot = await slots.begin(cut, never)
    order.push(name)
    return slot
  }

  it('wait for others to end, in their order', async () => {
    const order: string[] = []
    const first = await begin(order, 'first')
    const second = await begin(order, 'second')
    const waiting = [begin(order, 'third'), begin(order, 'fourth')]
    await new Promise((resolve) => setImmediate(resolve))
    expect(order).toEqual(['first', 'second'])
    first.end()
    first.end()
    await waiting[0]
    expect(order).toEqual(['first', 'second', 'third'])
    second.end()
    await waiting[1]
    expect(order).toEqual(['first', 'second', 'third', 'fourth'])
  })

  it('push out who takes nothing, and nobody who does, or who waits for us', async () => {
    slots = new SendSlots(3, () => {
      looks++
      return nowMs
    })
    const order: string[] = []
    const stalled = await begin(order, 'stalled')
    const moving = await begin(order, 'moving')
    await begin(order, 'cold')
    stalled.writing()
    moving.writing()
    const waiting = begin(order, 'waiting')
    nowMs = 4999
    moving.written()
    moving.writing()
    looks = 0
    await vi.waitFor(() => expect(looks).toBeGreaterThan(1))
    expect(order).toEqual(['stalled', 'moving', 'cold'])
    nowMs = 5000
    await waiting
    expect(order).toEqual(['stalled', 'moving', 'cold', 'stalled cut', 'waiting'])
    stalled.end()
    // Its slot is another's now.
    const next = begin(order, 'next')
    await new Promise((resolve) => setImmediate(resolve))
    expect(order).not.toContain('next')
    moving.end()
    await next
  })

  it('go to who came last, while more wait than can be sent at once', async () => {
    const order: string[] = []
    const first = await begin(order, 'first')
    await begin(order, 'second')
    const flood = ['a', 'b', 'c', 'd'].map((name) => begin(order, name))
    flood.push(begin(order, 'last'))
    await new Promise((resolve) => setImmediate(resolve))
    first.end()
    await flood[4]
    expect(order).toEqual(['first', 'second', 'last'])
  })

  it('are not waited for by a client that has left', async () => {
    await begin([], 'first')
    const second = await begin([], 'second')
    const leaving = new AbortController()
    const cut = vi.fn()
    const left = slots.begin(cut, leaving.signal)
    leaving.abort(new Error('the client left'))
    await expect(left).rejects.toThrow('the client left')
    second.end()
    await begin([], 'third')
  })
})
