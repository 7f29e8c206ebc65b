import type { LaneParent, PieceRequest } from '../lane/piece-fetch.ts'
import type { StoredBlob } from '../store/blob.ts'

/**
 * The request for a piece of `blob` from `parent`.
 * @param arrivals one number that grows by the bytes that come
 */
export function pieceRequestOf(
  blob: StoredBlob,
  arrivals: Int32Array<SharedArrayBuffer>,
  piece: number,
  sha256: Uint8Array,
  { peerId, host, port }: LaneParent,
): PieceRequest {
  return {
    digest: blob.digest,
    piece,
    offset: blob.layout.offset(piece),
    length: blob.layout.length(piece),
    sha256,
    file: blob.file,
    isNewFile: blob.isOnePiece,
    arrivals,
    parent: { peerId, host, port },
  }
}
