import { describe, expect, it } from 'vitest'
import { BackgroundLoop, Lifecycle, pause } from '../../src/index.ts'

const part = (name: string, log: string[], fails = false) => ({
  start: async () => {
    log.push(`start ${name}`)
    if (fails) throw new Error(`${name} can not start`)
  },
  stop: async () => {
    log.push(`stop ${name}`)
  },
})

describe('Lifecycle', () => {
  it('starts in order and stops in reverse, once', async () => {
    const log: string[] = []
    const lifecycle = new Lifecycle([part('a', log), part('b', log)])
    await lifecycle.start()
    await lifecycle.start()
    await lifecycle.stop()
    await lifecycle.stop()
    expect(log).toEqual(['start a', 'start b', 'stop b', 'stop a'])
  })

  it('leaves nothing running after a failed start', async () => {
    const log: string[] = []
    const lifecycle = new Lifecycle([part('a', log), part('b', log, true), part('c', log)])
    await expect(lifecycle.start()).rejects.toThrow('b can not start')
    expect(log).toEqual(['start a', 'start b', 'stop a'])
  })
})

describe('BackgroundLoop', () => {
  it('works from start to stop, once each however often it is told, and can be started again', async () => {
    const events: string[] = []
    const loop = new BackgroundLoop(async (signal) => {
      events.push('begun')
      await pause(3_600_000, signal)
      events.push('ended')
    })
    expect(loop.isRunning).toBe(false)
    for (let round = 0; round < 2; round++) {
      await loop.start()
      await loop.start()
      expect(loop.isRunning).toBe(true)
      await Promise.all([loop.stop(), loop.stop()])
      await loop.stop()
      expect(loop.isRunning).toBe(false)
    }
    expect(events).toEqual(['begun', 'ended', 'begun', 'ended'])
  })
})
