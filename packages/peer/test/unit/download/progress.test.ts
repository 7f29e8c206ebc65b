import { beforeEach, describe, expect, it } from 'vitest'
import { Progress } from '../../../src/download/progress.ts'

const KIB = 1024
const PIECE_BYTES = 16 * 1024 * KIB

describe('the progress of a download', () => {
  let arrivals: Int32Array<SharedArrayBuffer>
  let nowMs: number
  let progress: Progress

  beforeEach(() => {
    arrivals = new Int32Array(new SharedArrayBuffer(4))
    nowMs = 1000
    progress = new Progress(arrivals, PIECE_BYTES, () => nowMs)
  })

  /** A second goes by in which so many bytes come. */
  const came = (bytes: number) => {
    nowMs += 1000
    Atomics.add(arrivals, 0, bytes)
    return progress.look(false)
  }

  it('is bytes that come, though a piece takes minutes, once they are as many as the smallest piece has', () => {
    expect(came(200 * KIB)).toBe(2000)
    expect(progress.progressMs).toBe(1000)
    expect(came(0)).toBe(2000)
    came(56 * KIB)
    expect(progress.progressMs).toBe(4000)
  })

  it('is no bytes beyond sixteen pieces of which none was right', () => {
    for (let second = 0; second < 16; second++) came(PIECE_BYTES)
    expect(progress.progressMs).toBe(nowMs)
    const last = nowMs
    came(PIECE_BYTES)
    expect(progress.progressMs).toBe(last)
    progress.pieceCame()
    expect(progress.progressMs).toBe(nowMs)
    came(PIECE_BYTES)
    expect(progress.progressMs).toBe(nowMs)
  })

  it('counts on when the number wraps around', () => {
    arrivals[0] = 2 ** 31 - KIB
    progress.look(false)
    progress.pieceCame()
    came(256 * KIB)
    expect(progress.progressMs).toBe(nowMs)
  })

  it('is not what moves elsewhere, or while it is busy: that is worth waiting for all the same', () => {
    nowMs = 5000
    progress.movedElsewhere()
    expect(progress.look(false)).toBe(5000)
    nowMs = 6000
    expect(progress.look(true)).toBe(6000)
    expect(progress.progressMs).toBe(1000)
    progress.restart()
    expect(progress.progressMs).toBe(6000)
  })
})
