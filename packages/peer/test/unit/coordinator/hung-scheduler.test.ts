import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { createLogger } from '@shoal/core'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { SchedulerLink } from '../../../src/coordinator/scheduler-link.ts'
import { HELLO, ScriptedScheduler } from './scripted-scheduler.ts'

/** The way to a scheduler, on which nothing moves while the scheduler hangs. */
class Way {
  /** Bytes that came from the scheduler. */
  bytes = 0
  readonly #sockets = new Set<Socket>()
  readonly #server = createServer((near) => {
    const far = connect(this.#port, '127.0.0.1')
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from)
      from.on('error', () => {})
      from.pipe(to)
    }
    far.on('data', ({ length }) => {
      this.bytes += length
    })
  })
  readonly #port: number

  constructor(port: number) {
    this.#port = port
  }

  async open(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  hang(): void {
    for (const socket of this.#sockets) {
      socket.unpipe()
      socket.pause()
    }
  }

  goOn(): void {
    const [near, far] = [...this.#sockets]
    if (near === undefined || far === undefined) throw new Error('nobody dialled')
    near.pipe(far)
    far.pipe(near)
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}

let scheduler: ScriptedScheduler
let way: Way
let link: SchedulerLink
let told: string[]

/** Lets what is on its way through sockets arrive, and waits until that is so, without the clock of the link going on. */
const until = async (isSo: () => boolean) => {
  for (let turn = 0; turn < 20 || (turn < 2000 && !isSo()); turn++) await delay(1)
}

beforeEach(async () => {
  told = []
  scheduler = new ScriptedScheduler()
  await scheduler.start()
  way = new Way(scheduler.port)
  const ignore = () => {}
  link = new SchedulerLink(await way.open(), {
    hello: () => HELLO,
    listener: {
      connected: () => told.push('connected'),
      disconnected: () => told.push('disconnected'),
      isWaiting: () => true,
      assigned: ignore,
      leased: ignore,
      swarmFailed: ignore,
      leaseTaken: ignore,
      swarmGetsOn: ignore,
      originShare: ignore,
      pieceMapWanted: ignore,
      bootstrap: ignore,
    },
    log: createLogger('test', 'silent'),
    now: () => 12_000,
    random: () => 0,
  })
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  await link.start()
  await vi.waitFor(() => expect(told).toEqual(['connected']))
})
afterEach(async () => {
  vi.useRealTimers()
  way.close()
  await link.stop()
  scheduler.stop()
})

it('leaves a scheduler that hangs within two seconds', async () => {
  way.hang()
  await vi.advanceTimersByTimeAsync(1650)
  await until(() => told.length === 2)
  expect(told).toEqual(['connected', 'disconnected'])
})

it('asks a scheduler that says nothing, and stays with it for its answers', async () => {
  for (const [i, ms] of [500, 1000, 2000].entries()) {
    await vi.advanceTimersByTimeAsync(ms)
    await until(() => scheduler.pings === i + 1)
    await until(() => true)
  }
  expect(scheduler.pings).toBe(3)
  expect(told).toEqual(['connected'])
})

it('does not leave one that stands still for less than a second', async () => {
  way.hang()
  await vi.advanceTimersByTimeAsync(950)
  const { bytes } = way
  way.goOn()
  await until(() => way.bytes > bytes)
  await until(() => true)
  await vi.advanceTimersByTimeAsync(700)
  await until(() => true)
  expect(told).toEqual(['connected'])
})
