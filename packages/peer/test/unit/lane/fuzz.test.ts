import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { LaneError } from '../../../src/lane/errors.ts'
import { FrameParser } from '../../../src/lane/frame-parser.ts'
import type { Frame } from '../../../src/lane/frames.ts'
import { frameSamples, mutatedStream, randomNumbers } from './mutations.ts'
import { type ReferenceFrame, referenceParse } from './reference-parser.ts'

/** Mutated streams of one to ten frames. */
const STREAMS = 1_000_000

/** What the parser told, payloads copied as a receiver must. */
class Record {
  readonly frames: Frame[] = []
  readonly ends: number[] = []
  readonly payload = Buffer.alloc(8192)
  isRefused = false
  #filled = 0

  frame(frame: Frame): void {
    this.frames.push(frame)
    this.ends.push(this.#filled)
  }

  bytes(bytes: Buffer): void {
    if (this.frames.length === 0) throw new Error('payload before any frame')
    this.#filled += bytes.copy(this.payload, this.#filled)
    this.ends[this.ends.length - 1] = this.#filled
  }

  clear(): void {
    this.frames.length = 0
    this.ends.length = 0
    this.isRefused = false
    this.#filled = 0
  }
}

const record = new Record()

/** Pushes the stream in chunks that end at `cuts`, which ascend; what came of it is in `record`. */
function parse(stream: Buffer, cuts: readonly number[]): void {
  record.clear()
  const parser = new FrameParser({ frame: (frame) => record.frame(frame), payload: (bytes) => record.bytes(bytes) })
  let from = 0
  try {
    for (const cut of cuts) {
      parser.push(stream.subarray(from, cut))
      from = cut
    }
    parser.push(stream.subarray(from))
  } catch (error) {
    if (!(error instanceof LaneError) || error.code !== 'protocol') throw error
    record.isRefused = true
  }
}

function fieldsOf(frame: Frame): readonly (number | string)[] {
  if (frame.type === 'hello') return [frame.lowestVersion, frame.highestVersion, frame.features, frame.timeMs ?? -1]
  if (frame.type === 'response') return [frame.id, frame.status, frame.length]
  return [frame.id, frame.piece, frame.offset, frame.length, frame.digest]
}

/** Why what is in `record` is not what the reference says of the stream; undefined when it is. */
function difference(stream: Buffer): string | undefined {
  const expected = referenceParse(stream)
  if (record.isRefused !== expected.isRefused) return `refused: ${record.isRefused}, not ${expected.isRefused}`
  if (record.frames.length !== expected.frames.length) {
    return `${record.frames.length} frames, not ${expected.frames.length}`
  }
  let payloadAt = 0
  for (const [i, frame] of record.frames.entries()) {
    const { type, fields, payloadStart, payloadEnd } = expected.frames[i] as ReferenceFrame
    const found = fieldsOf(frame)
    if (frame.type !== type || found.length !== fields.length) return `frame ${i} is a ${frame.type}, not a ${type}`
    for (let f = 0; f < fields.length; f++) {
      if (found[f] !== fields[f]) return `frame ${i} has ${found[f]}, not ${fields[f]}`
    }
    const end = record.ends[i] ?? 0
    if (record.payload.compare(stream, payloadStart, payloadEnd, payloadAt, end) !== 0) {
      return `the payload of frame ${i} is not what was sent`
    }
    payloadAt = end
  }
  return undefined
}

const samples = frameSamples()

describe('the parser of the lane, beside a slow one', () => {
  it('reads the same wherever the stream is cut in two, and byte by byte', () => {
    const stream = Buffer.concat([...samples, ...samples.reverse()])
    for (let cut = 0; cut <= stream.length; cut++) {
      parse(stream, [cut])
      expect(difference(stream)).toBeUndefined()
    }
    parse(
      stream,
      Array.from(stream, (_, i) => i),
    )
    expect(difference(stream)).toBeUndefined()
    expect(record.frames.length).toBe(2 * samples.length)
  })

  it(`reads and refuses the same in ${STREAMS} mutated streams`, { timeout: 120_000 }, () => {
    const random = randomNumbers(42)
    let refused = 0
    let passed = 0
    let payloads = 0
    for (let run = 0; run < STREAMS; run++) {
      const stream = mutatedStream(samples, random)
      const first = random(stream.length + 1)
      parse(stream, [first, first + random(stream.length + 1 - first)])
      const wrong = difference(stream)
      if (wrong !== undefined) throw new Error(`stream ${run}, ${stream.toString('hex')}: ${wrong}`)
      if (record.isRefused) refused++
      else passed++
      payloads += record.ends.at(-1) ?? 0
    }
    // Both ways were exercised, with payloads.
    expect(refused).toBeGreaterThan(STREAMS / 5)
    expect(passed).toBeGreaterThan(STREAMS / 20)
    expect(payloads).toBeGreaterThan(STREAMS)
  })

  it('keeps nothing of what it was given but one frame’s head', () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const retained = () => {
      collect()
      const { heapUsed, arrayBuffers } = process.memoryUsage()
      return heapUsed + arrayBuffers
    }
    const count = 2000
    const chunkBytes = 64 * 1024
    const random = randomNumbers(7)
    const parsers: FrameParser[] = []
    const before = retained()
    for (let i = 0; i < count; i++) {
      const parser = new FrameParser({ frame: () => {}, payload: () => {} })
      const chunk = Buffer.alloc(chunkBytes)
      for (let at = 0; at < chunkBytes; at += 300) mutatedStream(samples, random).copy(chunk, at)
      try {
        parser.push(chunk)
      } catch (error) {
        expect(error).toBeInstanceOf(LaneError)
      }
      parsers.push(parser)
    }
    const each = (retained() - before) / parsers.length
    expect(each).toBeLessThan(4096)
  })
})
