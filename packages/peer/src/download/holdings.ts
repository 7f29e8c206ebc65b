import { HaveSet, PieceLayout } from '@shoal/core'
import type { StoredBlob } from '../store/blob.ts'
import type { Holdings } from '../swarm/holders.ts'

const SHA256_BYTES = 32

/** What is to be told of a blob besides what is held of it. */
type Prospects = Pick<Holdings, 'isFetching' | 'isDownloading' | 'fetcher'>

/**
 * What a node may tell others of a blob.
 * @param pieceMap sha256 of each piece, 32 bytes each, zero where not known
 */
export function holdingsOf(blob: StoredBlob, pieceMap: Uint8Array | undefined, prospects: Prospects): Holdings {
  const { count } = blob.layout
  const have = new HaveSet(count)
  const sha256s = new Uint8Array(count * SHA256_BYTES)
  for (let piece = 0; piece < count; piece++) {
    const sha256 = pieceMap?.subarray(piece * SHA256_BYTES, (piece + 1) * SHA256_BYTES)
    if (!blob.have.has(piece) || sha256?.byteLength !== SHA256_BYTES || sha256.every((byte) => byte === 0)) continue
    have.add(piece)
    sha256s.set(sha256, piece * SHA256_BYTES)
  }
  return { size: blob.size, have, sha256s, ...prospects }
}

/** What a node tells of a blob of `size` bytes of which it holds nothing. */
export function holdingsToCome(size: number, prospects: Prospects): Holdings {
  const { count } = new PieceLayout(size)
  return { size, have: new HaveSet(count), sha256s: new Uint8Array(count * SHA256_BYTES), ...prospects }
}
