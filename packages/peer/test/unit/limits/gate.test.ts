import { describe, expect, it } from 'vitest'
import { Gate } from '../../../src/limits/gate.ts'

const never = new AbortController().signal
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('gate', () => {
  it('lets so many in at once, in order, and follows a change', async () => {
    const gate = new Gate()
    const ends: (() => void)[] = []
    const entered: number[] = []
    const pass = (id: number, signal = never) =>
      gate.pass(signal, () => {
        entered.push(id)
        return new Promise<void>((resolve) => ends.push(resolve))
      })
    gate.allow(1)
    const passing = [pass(0), pass(1), pass(2), pass(3)]
    await turn()
    expect(entered).toEqual([0])
    ends[0]?.()
    await turn()
    expect(entered).toEqual([0, 1])
    gate.allow(2)
    await turn()
    expect(entered).toEqual([0, 1, 2])
    gate.allow(Number.POSITIVE_INFINITY)
    await turn()
    expect(entered).toEqual([0, 1, 2, 3])
    for (const end of ends) end()
    await Promise.all(passing)
  })

  it('keeps nobody who was aborted waiting, and has room again when work fails', async () => {
    const gate = new Gate()
    gate.allow(1)
    const failing = gate.pass(never, async () => {
      await turn()
      throw new Error('failed')
    })
    const abort = new AbortController()
    const aborted = gate.pass(abort.signal, async () => abort.signal.aborted)
    abort.abort()
    expect(await aborted).toBe(true)
    await expect(failing).rejects.toThrow('failed')
    expect(await gate.pass(never, async () => 'in')).toBe('in')
  })
})
