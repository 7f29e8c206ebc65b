import { MAX_PIECE_BYTES } from '@shoal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LaneError } from '../../../src/lane/errors.ts'
import { FrameParser } from '../../../src/lane/frame-parser.ts'
import { encodeFrame, type Frame, HEADER_BYTES } from '../../../src/lane/frames.ts'

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const hex = (length: number) =>
  fc.uint8Array({ minLength: length / 2, maxLength: length / 2 }).map((bytes) => Buffer.from(bytes).toString('hex'))
const digest = fc.oneof(
  hex(64).map((text) => `sha256:${text}`),
  hex(128).map((text) => `sha512:${text}`),
)
const version = fc.integer({ min: 1, max: 65535 })
const hello = fc.tuple(version, version, u32, fc.option(fc.nat({ max: 8.64e15 }), { nil: undefined })).map(
  ([a, b, features, timeMs]): Frame => ({
    type: 'hello',
    lowestVersion: Math.min(a, b),
    highestVersion: Math.max(a, b),
    features,
    ...(timeMs === undefined ? {} : { timeMs }),
  }),
)
const request = fc
  .record({
    id: u32,
    digest,
    piece: u32,
    offset: fc.maxSafeNat(),
    length: fc.integer({ min: 1, max: MAX_PIECE_BYTES }),
  })
  .chain((fields) => fc.constantFrom<Frame>({ type: 'request', ...fields }, { type: 'rejected', ...fields }))
const refusal = fc
  .record({
    id: u32,
    status: fc.constantFrom('busy' as const, 'notHeld' as const, 'mismatch' as const, 'failed' as const),
  })
  .map((fields): Frame => ({ type: 'response', ...fields, length: 0 }))
/** A frame and the payload after it. */
const message = fc.oneof(
  fc.oneof(hello, request, refusal).map((frame) => ({ frame, payload: Buffer.alloc(0) })),
  fc.tuple(u32, fc.uint8Array({ minLength: 1, maxLength: 300 })).map(([id, bytes]) => ({
    frame: { type: 'response', id, status: 'ok', length: bytes.length } satisfies Frame as Frame,
    payload: Buffer.from(bytes),
  })),
)

interface Parsed {
  frame: Frame
  payload: Buffer
}

function parse(chunks: Iterable<Buffer>): Parsed[] {
  const parsed: Parsed[] = []
  const parser = new FrameParser({
    frame: (frame) => parsed.push({ frame, payload: Buffer.alloc(0) }),
    payload: (bytes) => {
      const last = parsed.at(-1)
      if (last === undefined) throw new Error('payload before any frame')
      last.payload = Buffer.concat([last.payload, bytes])
    },
  })
  for (const chunk of chunks) parser.push(chunk)
  return parsed
}

function* split(bytes: Buffer, sizes: readonly number[]): Iterable<Buffer> {
  let position = 0
  for (let i = 0; position < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    yield bytes.subarray(position, position + size)
    position += size
  }
}

describe('lane frames', () => {
  it('come out as they went in, however the stream is split', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), sizes, (messages, chunkSizes) => {
        const bytes = Buffer.concat(messages.flatMap(({ frame, payload }) => [encodeFrame(frame), payload]))
        expect(parse(split(bytes, chunkSizes))).toEqual(messages)
      }),
    )
  })

  it('refuse garbage with a protocol error and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 400 }), fc.integer({ min: 1, max: 50 }), (bytes, size) => {
        try {
          parse(split(Buffer.from(bytes), [size]))
        } catch (error) {
          expect(error).toBeInstanceOf(LaneError)
          expect(error).toMatchObject({ code: 'protocol' })
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('skip what a later version adds to its hello', () => {
    const bytes = encodeFrame({ type: 'hello', lowestVersion: 1, highestVersion: 9, features: 5, timeMs: 7 })
    const longer = Buffer.concat([bytes, Buffer.from('token')])
    longer.writeUInt16BE(longer.length - HEADER_BYTES, 2)
    expect(parse([longer]).map(({ frame }) => frame)).toEqual([
      { type: 'hello', lowestVersion: 1, highestVersion: 9, features: 5, timeMs: 7 },
    ])
  })

  it('take a time that no clock says for none', () => {
    const bytes = encodeFrame({ type: 'hello', lowestVersion: 1, highestVersion: 1, features: 0, timeMs: 0 })
    bytes.fill(0xff, 16)
    expect(parse([bytes]).map(({ frame }) => frame)).toEqual([
      { type: 'hello', lowestVersion: 1, highestVersion: 1, features: 0 },
    ])
  })

  it.each([
    ['a payload larger than any piece', { type: 'response', id: 1, status: 'ok', length: MAX_PIECE_BYTES + 1 }],
    ['a refusal with a payload', { type: 'response', id: 1, status: 'busy', length: 1 }],
    ['a piece of no bytes', { type: 'response', id: 1, status: 'ok', length: 0 }],
    ['a hello without versions', { type: 'hello', lowestVersion: 0, highestVersion: 1, features: 0 }],
    ['a hello with versions upside down', { type: 'hello', lowestVersion: 2, highestVersion: 1, features: 0 }],
    [
      'a request for more than a piece',
      { type: 'request', id: 1, digest: `sha256:${'0'.repeat(64)}`, piece: 0, offset: 0, length: MAX_PIECE_BYTES + 1 },
    ],
  ] satisfies [string, Frame][])('refuse %s', (_what, frame) => {
    expect(() => parse([encodeFrame(frame)])).toThrow(expect.objectContaining({ code: 'protocol' }))
  })

  it('refuse a sha256 followed by more digest bytes', () => {
    const bytes = encodeFrame({
      type: 'request',
      id: 1,
      digest: `sha256:${'0'.repeat(64)}`,
      piece: 0,
      offset: 0,
      length: 1,
    })
    bytes[bytes.length - 1] = 1
    expect(() => parse([bytes])).toThrow(expect.objectContaining({ code: 'protocol' }))
  })
})
