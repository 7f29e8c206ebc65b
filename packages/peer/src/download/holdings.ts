import { HaveSet, PieceLayout } from '@shoal/core'
import type { StoredBlob } from '../store/blob.ts'
import type { Holdings } from '../swarm/holders.ts'

const SHA256_BYTES = 32

/**
 * What a node may tell others of a blob.
 * @param pieceMap sha256 of each piece, 32 bytes each, zero where not known
 */
export function holdingsOf(blob: StoredBlob, pieceMap: Uint8Array | undefined, isFetching: boolean): Holdings {
  const { count } = blob.layout
  const have = new HaveSet(count)
  const sha256s = new Uint8Array(count * SHA256_BYTES)
  for (let piece = 0; piece < count; piece++) {
    const sha256 = pieceMap?.subarray(piece * SHA256_BYTES, (piece + 1) * SHA256_BYTES)
    if (!blob.have.has(piece) || sha256?.byteLength !== SHA256_BYTES || sha256.every((byte) => byte === 0)) continue
    have.add(piece)
    sha256s.set(sha256, piece * SHA256_BYTES)
  }
  return { size: blob.size, have, sha256s, isFetching }
}

/** What a node tells of a blob of `size` bytes of which it holds nothing yet but which it is about to fetch. */
export function holdingsToCome(size: number): Holdings {
  const { count } = new PieceLayout(size)
  return { size, have: new HaveSet(count), sha256s: new Uint8Array(count * SHA256_BYTES), isFetching: true }
}
