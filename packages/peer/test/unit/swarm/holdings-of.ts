import { createHash } from 'node:crypto'
import { HaveSet, PieceLayout } from '@shoal/core'
import type { Holdings } from '../../../src/swarm/holders.ts'

/** Holdings of a blob of `size` bytes, with a sha256 made up for each held piece. */
export function holdingsOf(size: number, held: Iterable<number>, isFetching = false, isDownloading = false): Holdings {
  const { count } = new PieceLayout(size)
  const have = new HaveSet(count)
  const sha256s = new Uint8Array(count * 32)
  for (const piece of held) {
    have.add(piece)
    sha256s.set(createHash('sha256').update(`piece ${piece}`).digest(), piece * 32)
  }
  return { size, have, sha256s, isFetching, isDownloading }
}
