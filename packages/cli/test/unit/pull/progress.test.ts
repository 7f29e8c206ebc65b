import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { clock, Pace } from '../../../src/pull/pace.ts'
import { createProgress } from '../../../src/pull/progress.ts'

const MIB = 1024 * 1024
const BLOBS = [
  { digest: `sha256:${'a'.repeat(64)}`, size: 1000 * MIB },
  { digest: `sha256:${'b'.repeat(64)}`, size: 24 * MIB },
]
const status = (index: number, bytes: { peer: number; seed: number; origin: number }) => ({
  digest: BLOBS[index]?.digest ?? '',
  size: BLOBS[index]?.size ?? 0,
  state: 'active' as const,
  bytes,
})

/** A stream that keeps what is written; a terminal when it has columns. */
function sink(columns?: number) {
  let text = ''
  const stream = new Writable({
    write: (chunk, _encoding, done) => {
      text += chunk
      done()
    },
  })
  return { stream: Object.assign(stream, columns === undefined ? {} : { isTTY: true, columns }), text: () => text }
}

describe('progress on a terminal of 80 columns', () => {
  it('shows shares of all sources in full, the whole, its rate and what is left', () => {
    const out = sink(80)
    let nowMs = 0
    const progress = createProgress(out.stream, BLOBS, () => nowMs)
    nowMs = 1000
    progress.update([status(0, { peer: 33 * MIB, seed: 33 * MIB, origin: 34 * MIB })])
    progress.close()
    // Each escape sequence ends a line.
    const parts = out.text().split('\x1b')
    const lines = parts.flatMap((part) => part.replace(/^(?:\[[0-9;?]*[A-Za-z]|[78])/, '').split('\n'))
    const last = (start: string) => lines.findLast((line) => line.startsWith(start)) ?? ''
    expect(last('aaaaaaaaaaaa')).toMatch(/ 10% of 1000\.0 MiB {2}neighbours 33% seed 33% origin 34%$/)
    expect(last('all')).toMatch(/ 9% of 1024\.0 MiB {2}100\.0 MiB\/s {2}0:10 left$/)
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80)
  })
})

// Shows bars, and goes on until it is ended.
const ENDLESS = `
import { createProgress } from ${JSON.stringify(join(import.meta.dirname, '../../../src/pull/progress.ts'))}
setInterval(() => {}, 1000)
createProgress(Object.assign(process.stdout, { isTTY: true, columns: 80 }), [{ digest: 'sha256:a', size: 1 }])
process.stderr.write('shown')
`

it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  'the first %s ends a pull, and gives the cursor back',
  async (signal) => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', ENDLESS])
    const ended = once(child, 'close')
    let shown = ''
    child.stdout.on('data', (chunk) => {
      shown += chunk
    })
    child.stderr.once('data', () => child.kill(signal))
    expect(await ended).toEqual([null, signal])
    expect(shown.lastIndexOf('\x1b[?25h')).toBeGreaterThan(shown.lastIndexOf('\x1b[?25l'))
    expect(shown).toContain('\x1b[?25l')
  },
)

describe('progress elsewhere', () => {
  it('is a line for each blob, and for the whole every five seconds', () => {
    const out = sink()
    let nowMs = 0
    const progress = createProgress(out.stream, BLOBS, () => nowMs)
    for (const [atMs, bytes] of [
      [1000, 0],
      [4000, 100 * MIB],
      [5000, 200 * MIB],
      [6000, 300 * MIB],
    ] as const) {
      nowMs = atMs
      progress.update([
        status(0, { peer: bytes, seed: 0, origin: 0 }),
        { ...status(1, { peer: 1, seed: 0, origin: 0 }), digest: 'sha256:other' },
      ])
    }
    progress.done(BLOBS[1] as (typeof BLOBS)[1], undefined)
    progress.close()
    expect(out.text()).toBe('19% of 1024.0 MiB  40.0 MiB/s  0:21 left\nbbbbbbbbbbbb  24.0 MiB  was here already\n')
  })
})

describe('pace', () => {
  it('is that of the last five seconds', () => {
    let nowMs = 0
    const pace = new Pace(() => nowMs)
    expect(pace.rate).toBe(0)
    for (const [atMs, bytes, rate] of [
      [1000, 500, 500],
      [2000, 500, 250],
      [8000, 500, 0],
      [9000, 2500, 2000 / 7],
    ] as const) {
      nowMs = atMs
      pace.note(bytes)
      expect(pace.rate).toBeCloseTo(rate)
    }
  })

  it.each([
    [0.2, '0:01'],
    [65, '1:05'],
    [3599.5, '1:00:00'],
    [36_065, '10:01:05'],
  ])('%d seconds are %s', (seconds, text) => {
    expect(clock(seconds)).toBe(text)
  })
})
