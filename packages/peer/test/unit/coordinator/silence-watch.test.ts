import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, it, vi } from 'vitest'
import { SilenceWatch } from '../../../src/coordinator/silence-watch.ts'

const told: string[] = []
let isWaiting = true
const listener = {
  isWaiting: () => isWaiting,
  ask: () => told.push('ask'),
  givenUp: () => told.push('given up'),
}
let watch: SilenceWatch | undefined

afterEach(() => {
  vi.useRealTimers()
  watch?.stop()
  told.length = 0
  isWaiting = true
})

it('asks once, then gives up once', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  watch = new SilenceWatch(listener)
  await vi.advanceTimersByTimeAsync(490)
  expect(told).toEqual([])
  await vi.advanceTimersByTimeAsync(1000)
  expect(told).toEqual(['ask'])
  await vi.advanceTimersByTimeAsync(20)
  expect(told).toEqual(['ask', 'given up'])
  await vi.advanceTimersByTimeAsync(5000)
  expect(told).toEqual(['ask', 'given up'])
})

it('asks less and less often whom it hears nothing else from', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  watch = new SilenceWatch(listener)
  for (const [i, ms] of [500, 1000, 2000, 2000].entries()) {
    await vi.advanceTimersByTimeAsync(ms - 250)
    expect(told).toHaveLength(i)
    await vi.advanceTimersByTimeAsync(250)
    expect(told).toHaveLength(i + 1)
    watch.heard(true)
  }
  watch.heard(false)
  await vi.advanceTimersByTimeAsync(500)
  expect(told).toHaveLength(5)
})

it('asks later while nothing is waited for, and sooner when that changes, and gives up only who was asked', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  isWaiting = false
  watch = new SilenceWatch(listener)
  await vi.advanceTimersByTimeAsync(4900)
  expect(told).toEqual([])
  await vi.advanceTimersByTimeAsync(100)
  expect(told).toEqual(['ask'])
  watch.heard(false)
  await vi.advanceTimersByTimeAsync(4000)
  isWaiting = true
  await vi.advanceTimersByTimeAsync(1000)
  expect(told).toEqual(['ask', 'ask'])
  await vi.advanceTimersByTimeAsync(250)
  expect(told).toEqual(['ask', 'ask', 'given up'])
})

it('asks again each time that it gets silent', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  watch = new SilenceWatch(listener)
  for (let i = 0; i < 8; i++) {
    await vi.advanceTimersByTimeAsync(500)
    watch.heard(false)
  }
  expect(told).toEqual(Array(8).fill('ask'))
  watch.stop()
  await vi.advanceTimersByTimeAsync(5000)
  expect(told).toHaveLength(8)
})

it('does not give up a side that spoke while this process was too busy to hear', async () => {
  const accepted = Promise.withResolvers<Socket>()
  const server = createServer((socket) => accepted.resolve(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const here = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const there = await accepted.promise
  try {
    watch = new SilenceWatch(listener)
    here.on('data', () => watch?.heard(false))
    for (let i = 0; i < 3; i++) {
      await delay(0)
      there.write('still here')
      for (const until = performance.now() + 1600; performance.now() < until; );
    }
    await delay(100)
    expect(told.filter((word) => word !== 'ask')).toEqual([])
  } finally {
    here.destroy()
    there.destroy()
    server.close()
  }
})
