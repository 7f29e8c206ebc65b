import { SHA256_BYTES } from '../core/swarm.ts'

/** Tags of fields that hold a length and bytes, and of those that hold a number: `field << 3 | wire type`. */
const bytesTag = (field: number) => (field << 3) | 2
const numberTag = (field: number) => field << 3

/** Fields of `ConnectResponse`, `NodeCommand` and `Assignments` (scheduler.proto). */
const COMMANDS = bytesTag(1)
const ASSIGNMENTS = bytesTag(8)
const SWARM = numberTag(1)
const PIECES = bytesTag(2)
const PARENTS = bytesTag(3)
const SHA256S = bytesTag(4)

/**
 * A response of one `Assignments` command, as `ConnectResponse.encode` would write it. Written by hand, into one buffer
 * of the right length: these are most of what a scheduler sends, and took a tenth of its time otherwise.
 * @param pieces not empty, as long as `parents`
 * @param digests sha256 of every piece of the swarm, one after another
 */
export function assignmentsResponse(
  swarm: number,
  pieces: readonly number[],
  parents: readonly number[],
  digests: Uint8Array,
): Buffer {
  const piecesLength = lengthOfAll(pieces)
  const parentsLength = lengthOfAll(parents)
  const digestsLength = pieces.length * SHA256_BYTES
  const message =
    1 + lengthOf(swarm) + lengthOfBytes(piecesLength) + lengthOfBytes(parentsLength) + lengthOfBytes(digestsLength)
  const command = lengthOfBytes(message)
  const into = Buffer.allocUnsafe(lengthOfBytes(command))
  let at = writeTag(into, 0, COMMANDS, command)
  at = writeTag(into, at, ASSIGNMENTS, message)
  at = writeTag(into, at, SWARM, swarm)
  at = writeAll(into, writeTag(into, at, PIECES, piecesLength), pieces)
  at = writeAll(into, writeTag(into, at, PARENTS, parentsLength), parents)
  at = writeTag(into, at, SHA256S, digestsLength)
  for (let i = 0; i < pieces.length; i++) {
    const from = (pieces[i] as number) * SHA256_BYTES
    for (let byte = 0; byte < SHA256_BYTES; byte++) into[at++] = digests[from + byte] as number
  }
  return into
}

/** Bytes of a number as a varint. */
function lengthOf(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5
}

function lengthOfAll(values: readonly number[]): number {
  let length = 0
  for (let i = 0; i < values.length; i++) length += lengthOf(values[i] as number)
  return length
}

/** Bytes of a field that holds so many bytes: with its tag and their number. */
function lengthOfBytes(length: number): number {
  return 1 + lengthOf(length) + length
}

function writeTag(into: Buffer, at: number, tag: number, value: number): number {
  into[at] = tag
  return writeVarint(into, at + 1, value)
}

function writeAll(into: Buffer, at: number, values: readonly number[]): number {
  for (let i = 0; i < values.length; i++) at = writeVarint(into, at, values[i] as number)
  return at
}

/** @param value a uint32 */
function writeVarint(into: Buffer, at: number, value: number): number {
  let rest = value
  while (rest >= 0x80) {
    into[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  into[at++] = rest
  return at
}
