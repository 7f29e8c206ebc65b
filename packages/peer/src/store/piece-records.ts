import { closeSync, constants, fstatSync, openSync, readSync, write } from 'node:fs'
import { rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import { OWNER_ONLY } from '@shoal/core'
import { storeIoError } from './errors.ts'

const writeBytes = promisify(write)

/** Of a sha256. */
const RECORD_BYTES = 32
/** What the file of a blob's records is called after the blob's own. */
export const RECORDS_SUFFIX = '.pieces'

/**
 * Which pieces of a blob in part are held, beside its file: the sha256 of piece i at 32·i, zeros where it is not held.
 * A record is written after the piece's bytes and says nothing that they do not prove: recovery hashes them. Not on the
 * spot, few bytes as it is: while too much waits for the disk, the system holds up whoever writes.
 * Throws StoreError.
 * @param file of the blob in part
 */
export async function recordPiece(file: string, piece: number, sha256: Uint8Array): Promise<void> {
  const records = file + RECORDS_SUFFIX
  try {
    const fd = openSync(records, constants.O_WRONLY | constants.O_CREAT, OWNER_ONLY.file)
    try {
      const { bytesWritten } = await writeBytes(fd, sha256, 0, RECORD_BYTES, piece * RECORD_BYTES)
      if (bytesWritten !== RECORD_BYTES) throw Object.assign(new Error('a record was cut off'), { code: 'ENOSPC' })
    } finally {
      closeSync(fd)
    }
  } catch (cause) {
    throw storeIoError('write', records, cause)
  }
}

/** The records of the `count` pieces of a blob; none when they can not be read, or are more: of pieces of another size. */
export function readRecords(file: string, count: number): [piece: number, sha256: Uint8Array][] {
  const bytes = Buffer.alloc(count * RECORD_BYTES)
  try {
    const fd = openSync(file + RECORDS_SUFFIX, 'r')
    try {
      if (fstatSync(fd).size > bytes.byteLength) return []
      readSync(fd, bytes, 0, bytes.byteLength, 0)
    } finally {
      closeSync(fd)
    }
  } catch {
    return []
  }
  const recorded: [number, Uint8Array][] = []
  for (let piece = 0; piece < count; piece++) {
    const sha256 = bytes.subarray(piece * RECORD_BYTES, (piece + 1) * RECORD_BYTES)
    // A record that was cut off proves no bytes, as zeros do not.
    if (sha256.some((byte) => byte !== 0)) recorded.push([piece, sha256])
  }
  return recorded
}

/** Deletes the records, which may be gone already. Throws StoreError. */
export async function removeRecords(file: string): Promise<void> {
  await rm(file + RECORDS_SUFFIX, { force: true }).catch((cause: unknown) => {
    throw storeIoError('delete', file + RECORDS_SUFFIX, cause)
  })
}
