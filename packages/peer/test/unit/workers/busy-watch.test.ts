import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { BusyWatch } from '../../../src/workers/busy-watch.ts'

/** A watch over a thread that takes `share()` of a core, which is busy from half of one on. */
function watchOver(share: () => number) {
  const seen = { busy: 0, looks: 0 }
  let [cpuMs, lookedAtMs] = [0, performance.now()]
  const watch = new BusyWatch(
    0.5,
    async () => {
      seen.looks++
      const nowMs = performance.now()
      cpuMs += share() * (nowMs - lookedAtMs)
      lookedAtMs = nowMs
      return cpuMs
    },
    () => seen.busy++,
  )
  return { watch, seen }
}

describe('busy watch', () => {
  it('tells once of a thread that is busy, however often it is begun', async () => {
    let share = 0.4
    const { watch, seen } = watchOver(() => share)
    watch.start()
    watch.start()
    await delay(700)
    expect(seen.busy).toBe(0)
    share = 0.6
    await delay(700)
    expect(seen.busy).toBe(1)
    const { looks } = seen
    watch.start()
    await delay(400)
    expect(seen).toEqual({ busy: 1, looks })
  })

  it('looks seldom at a thread that has nothing to do, until there is work', async () => {
    let share = 0
    const { watch, seen } = watchOver(() => share)
    watch.start()
    await delay(1200)
    expect(seen.looks).toBe(2)
    share = 1
    watch.start()
    await delay(700)
    expect(seen.busy).toBe(1)
  })

  it('looks no more once it is stopped', async () => {
    const { watch, seen } = watchOver(() => 1)
    watch.start()
    watch.stop()
    watch.start()
    await delay(600)
    expect(seen).toEqual({ busy: 0, looks: 1 })
  })
})
