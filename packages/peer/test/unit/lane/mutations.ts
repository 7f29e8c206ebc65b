import { createHash } from 'node:crypto'
import { MAX_PIECE_BYTES } from '@shoal/core'
import { encodeFrame } from '../../../src/lane/frames.ts'

/** Whole numbers from 0 to below n, the same ones for the same seed (mulberry32). */
export function randomNumbers(seed: number): (n: number) => number {
  let state = seed | 0
  return (n) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % n
  }
}

/** Right frames of every kind, responses with their payload. */
export function frameSamples(): Buffer[] {
  const digests = [`sha256:${'5a'.repeat(32)}`, `sha512:${'c3'.repeat(64)}`]
  const hello = encodeFrame({ type: 'hello', lowestVersion: 1, highestVersion: 3, features: 7 })
  const timedHello = encodeFrame({ type: 'hello', lowestVersion: 1, highestVersion: 1, features: 1, timeMs: 1e12 })
  const longHello = Buffer.concat([hello, Buffer.alloc(40, 9)])
  longHello.writeUInt16BE(longHello.length - 4, 2)
  const requests = digests.map((digest, id) =>
    encodeFrame({ type: 'request', id, digest, piece: id, offset: id * 262_144, length: 262_144 }),
  )
  const rejections = digests.map((digest, id) =>
    encodeFrame({ type: 'rejected', id, digest, piece: id, offset: id * 262_144, length: 262_144 }),
  )
  const refusals = (['busy', 'notHeld', 'mismatch', 'failed'] as const).map((status, id) =>
    encodeFrame({ type: 'response', id, status, length: 0 }),
  )
  const responses = [1, 13, 200].map((length, id) => {
    const payload = createHash('shake256', { outputLength: length }).update(String(id)).digest()
    return Buffer.concat([encodeFrame({ type: 'response', id, status: 'ok', length }), payload])
  })
  // Payloads that look like frames.
  const nested = Buffer.concat([hello, ...refusals])
  const tricky = encodeFrame({ type: 'response', id: 9, status: 'ok', length: nested.length })
  return [
    hello,
    longHello,
    timedHello,
    ...requests,
    ...rejections,
    ...refusals,
    ...responses,
    Buffer.concat([tricky, nested]),
  ]
}

const ABSURD = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, MAX_PIECE_BYTES, MAX_PIECE_BYTES + 1]
/** Where lengths are: of the fields, of a payload, of a request; offset of a request. */
const LENGTHS_AT = [2, 9, 12, 16, 20]

/** One to five frames, put together wrong, and damaged in one to three ways; valid again by chance now and then. */
export function mutatedStream(samples: readonly Buffer[], random: (n: number) => number): Buffer {
  const parts: Buffer[] = []
  for (let n = random(4); n >= 0; n--) parts.push(samples[random(samples.length)] ?? Buffer.alloc(0))
  // Twice, in another order, or one inside of another.
  const kind = random(6)
  if (kind === 0) parts.push(...parts)
  else if (kind === 1) parts.reverse()
  else if (kind === 2) {
    const [outer = Buffer.alloc(1)] = parts
    const at = random(outer.length)
    parts.splice(0, 1, outer.subarray(0, at), samples[random(samples.length)] ?? outer, outer.subarray(at))
  }
  let stream: Buffer = Buffer.concat(parts)
  for (let n = random(3); n >= 0; n--) stream = damaged(stream, random)
  return stream
}

function damaged(stream: Buffer, random: (n: number) => number): Buffer {
  if (stream.length === 0) return stream
  // Most damage goes where a parser decides: into the first bytes.
  const at = random(random(2) === 0 ? Math.min(stream.length, 20) : stream.length)
  switch (random(7)) {
    case 0:
      stream[at] = (stream[at] ?? 0) ^ (1 << random(8))
      return stream
    case 1:
      stream[at] = random(256)
      return stream
    case 2:
      return stream.subarray(0, at)
    case 3:
      return Buffer.concat([stream.subarray(0, at), stream.subarray(at + 1 + random(8))])
    case 4:
      return Buffer.concat([stream.subarray(0, at), Buffer.alloc(1 + random(8), random(256)), stream.subarray(at)])
    case 5: {
      const where = LENGTHS_AT[random(LENGTHS_AT.length)] ?? 2
      if (where + 4 <= stream.length) stream.writeUInt32BE(ABSURD[random(ABSURD.length)] ?? 0, where)
      return stream
    }
    default:
      return Buffer.concat([stream.subarray(at), stream.subarray(0, at)])
  }
}
