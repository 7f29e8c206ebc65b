import { type DigestAlgorithm, MAX_PIECE_BYTES, parseDigest } from '@shoal/core'
import { LaneError } from './errors.ts'

/*
 * Frames of the lane, over its TLS connections or a libp2p stream in their place, all numbers big-endian:
 *
 *   header    type u8 | zero u8 | bytes of the fields u16
 *   hello     magic u32 | lowest version u16 | highest version u16 | features u32 | time u64 | (more, skipped by who
 *             knows less; a node that knows less ends its hello before the time)
 *   request   id u32 | piece u32 | offset u64 | length u32 | algorithm u8 | digest 64 bytes, zeros after a shorter one
 *   rejected  as a request: of a piece that came and was wrong; to a server that hears it (feature 1)
 *   response  id u32 | status u8 | length u32, then `length` bytes of the piece
 *
 * The client says hello first, with the versions and features it can do; the server's hello has the one version they
 * both speak and the features that are in force. Responses come in the order of the requests.
 */

/** The version this code speaks. */
export const LANE_VERSION = 1

/** What a node can do beyond its version. */
export const FEATURES = {
  /** A server takes word of pieces that came and were wrong. */
  hearsRejections: 1,
} as const

/** What this node says first, now. */
export function ownHello(): HelloFrame {
  return {
    type: 'hello',
    lowestVersion: LANE_VERSION,
    highestVersion: LANE_VERSION,
    features: FEATURES.hearsRejections,
    timeMs: Math.max(0, Date.now()),
  }
}
/** Bytes of a frame's header. */
export const HEADER_BYTES = 4
/** Bytes that the fields of any frame may take, so that nobody can make the parser keep more. */
export const MAX_FIELD_BYTES = 256
/** Bytes of a whole response frame without its payload. */
export const RESPONSE_BYTES = HEADER_BYTES + 9

const MAGIC = 0x53484c4e
/** The last millisecond that a Date can be (ECMA-262, Time Values and Time Range). */
const MAX_TIME_MS = 8.64e15
/** Without the time, which the first nodes did not say. */
const LEAST_HELLO_FIELDS = 12
const HELLO_FIELDS = 20
const REQUEST_FIELDS = 85
const RESPONSE_FIELDS = 9
const DIGEST_BYTES = 64
const TYPE = { hello: 1, request: 2, response: 3, rejected: 4 } as const
const ALGORITHMS: readonly { readonly algorithm: DigestAlgorithm; readonly byte: number; readonly bytes: number }[] = [
  { algorithm: 'sha256', byte: 1, bytes: 32 },
  { algorithm: 'sha512', byte: 2, bytes: 64 },
]

/** What a response says; `mismatch`: offset and length are not those of the piece; `failed`: it could not be read. */
export type ResponseStatus = 'ok' | 'busy' | 'notHeld' | 'mismatch' | 'failed'
const STATUSES: readonly ResponseStatus[] = ['ok', 'busy', 'notHeld', 'mismatch', 'failed']

export interface HelloFrame {
  readonly type: 'hello'
  /** 1 to 65535. */
  readonly lowestVersion: number
  readonly highestVersion: number
  /** Bits: FEATURES; unknown ones are ignored. */
  readonly features: number
  /** What the sender's clock says, milliseconds since 1970; undefined: it does not say. */
  readonly timeMs?: number | undefined
}

/** Which piece is meant. */
interface PieceFields {
  /** Chosen by the client, unique among its requests in flight on the connection. */
  readonly id: number
  /** OCI digest of the blob. */
  readonly digest: string
  readonly piece: number
  /** Where the piece starts in the blob, bytes. */
  readonly offset: number
  /** Bytes, 1 to MAX_PIECE_BYTES. */
  readonly length: number
}

export interface RequestFrame extends PieceFields {
  readonly type: 'request'
}

/** The client threw away a piece that it got, because its sha256 was wrong. */
export interface RejectedFrame extends PieceFields {
  readonly type: 'rejected'
}

export interface ResponseFrame {
  readonly type: 'response'
  readonly id: number
  readonly status: ResponseStatus
  /** Bytes of the piece that follow; 0 unless the status is `ok`. */
  readonly length: number
}

export type Frame = HelloFrame | RequestFrame | RejectedFrame | ResponseFrame

/** The frame as bytes. */
export function encodeFrame(frame: Frame): Buffer {
  if (frame.type === 'hello') return encodeHello(frame)
  if (frame.type === 'request' || frame.type === 'rejected') return encodeRequest(frame)
  const bytes = Buffer.alloc(RESPONSE_BYTES)
  writeResponse(bytes, frame)
  return bytes
}

/** Writes a response frame at the start of `bytes`, in front of the piece's first bytes. */
export function writeResponse(bytes: Buffer, frame: ResponseFrame): void {
  writeHeader(bytes, TYPE.response, RESPONSE_FIELDS)
  bytes.writeUInt32BE(frame.id, 4)
  bytes[8] = STATUSES.indexOf(frame.status)
  bytes.writeUInt32BE(frame.length, 9)
}

/** How many bytes of fields the header announces; throws LaneError `protocol` when no frame of ours looks like that. */
export function fieldBytesOf(header: Uint8Array): number {
  const fieldBytes = ((header[2] as number) << 8) | (header[3] as number)
  const type = header[0]
  const fits =
    type === TYPE.hello
      ? fieldBytes >= LEAST_HELLO_FIELDS && fieldBytes <= MAX_FIELD_BYTES
      : ((type === TYPE.request || type === TYPE.rejected) && fieldBytes === REQUEST_FIELDS) ||
        (type === TYPE.response && fieldBytes === RESPONSE_FIELDS)
  if (!fits || header[1] !== 0) throw broken(`a frame of type ${type} with ${fieldBytes} bytes`)
  return fieldBytes
}

/**
 * The frame in `bytes`, header and fields, as many as `fieldBytesOf` says. Throws LaneError `protocol` when a field
 * has a value it may not have.
 */
export function decodeFrame(bytes: Buffer): Frame {
  if (bytes[0] === TYPE.hello) return decodeHello(bytes)
  if (bytes[0] === TYPE.request) return { type: 'request', ...decodePiece(bytes) }
  return bytes[0] === TYPE.rejected ? { type: 'rejected', ...decodePiece(bytes) } : decodeResponse(bytes)
}

function encodeHello(frame: HelloFrame): Buffer {
  const { timeMs } = frame
  const fieldBytes = timeMs === undefined ? LEAST_HELLO_FIELDS : HELLO_FIELDS
  const bytes = Buffer.alloc(HEADER_BYTES + fieldBytes)
  writeHeader(bytes, TYPE.hello, fieldBytes)
  bytes.writeUInt32BE(MAGIC, 4)
  bytes.writeUInt16BE(frame.lowestVersion, 8)
  bytes.writeUInt16BE(frame.highestVersion, 10)
  bytes.writeUInt32BE(frame.features, 12)
  if (timeMs !== undefined) bytes.writeBigUInt64BE(BigInt(timeMs), 16)
  return bytes
}

function decodeHello(bytes: Buffer): HelloFrame {
  if (bytes.readUInt32BE(4) !== MAGIC) throw broken('a hello of another protocol')
  const lowestVersion = bytes.readUInt16BE(8)
  const highestVersion = bytes.readUInt16BE(10)
  if (lowestVersion === 0 || highestVersion < lowestVersion) {
    throw broken(`a hello with the versions ${lowestVersion} to ${highestVersion}`)
  }
  const hello = { type: 'hello', lowestVersion, highestVersion, features: bytes.readUInt32BE(12) } as const
  if (bytes.length < HEADER_BYTES + HELLO_FIELDS) return hello
  const timeMs = Number(bytes.readBigUInt64BE(16))
  // What no clock says is nothing said: nobody is refused for the time.
  return timeMs <= MAX_TIME_MS ? { ...hello, timeMs } : hello
}

function encodeRequest(frame: RequestFrame | RejectedFrame): Buffer {
  const digest = parseDigest(frame.digest)
  const bytes = Buffer.alloc(HEADER_BYTES + REQUEST_FIELDS)
  writeHeader(bytes, TYPE[frame.type], REQUEST_FIELDS)
  bytes.writeUInt32BE(frame.id, 4)
  bytes.writeUInt32BE(frame.piece, 8)
  bytes.writeBigUInt64BE(BigInt(frame.offset), 12)
  bytes.writeUInt32BE(frame.length, 20)
  bytes[24] = ALGORITHMS.find((known) => known.algorithm === digest.algorithm)?.byte ?? 0
  bytes.write(digest.hex, 25, 'hex')
  return bytes
}

function decodePiece(bytes: Buffer): PieceFields {
  const known = ALGORITHMS.find((candidate) => candidate.byte === bytes[24])
  if (known === undefined) throw broken(`a request with digest algorithm ${bytes[24]}`)
  const end = 25 + known.bytes
  for (let i = end; i < 25 + DIGEST_BYTES; i++) {
    if (bytes[i] !== 0) throw broken('a request with bytes after its digest')
  }
  const offset = Number(bytes.readBigUInt64BE(12))
  const length = bytes.readUInt32BE(20)
  if (!Number.isSafeInteger(offset)) throw broken('a request past any blob')
  if (length === 0 || length > MAX_PIECE_BYTES) throw broken(`a request for ${length} bytes`)
  return {
    id: bytes.readUInt32BE(4),
    digest: `${known.algorithm}:${bytes.toString('hex', 25, end)}`,
    piece: bytes.readUInt32BE(8),
    offset,
    length,
  }
}

function decodeResponse(bytes: Buffer): ResponseFrame {
  const status = STATUSES[bytes[8] as number]
  const length = bytes.readUInt32BE(9)
  if (status === undefined) throw broken(`a response with status ${bytes[8]}`)
  if (status === 'ok' ? length === 0 || length > MAX_PIECE_BYTES : length !== 0) {
    throw broken(`a response "${status}" with ${length} bytes`)
  }
  return { type: 'response', id: bytes.readUInt32BE(4), status, length }
}

function writeHeader(bytes: Buffer, type: number, fieldBytes: number): void {
  bytes[0] = type
  bytes[1] = 0
  bytes.writeUInt16BE(fieldBytes, 2)
}

function broken(what: string): LaneError {
  return new LaneError('protocol', `the lane protocol has no such thing as ${what}`)
}
