import { type HaveSet, hashOfText, randomWeight } from '@shoal/core'

/** A node that downloads the blob too. */
interface Downloader {
  readonly peerId: string
  /** Pieces that it holds. */
  readonly have: HaveSet
}

/** So that pieces one after the other do not have hashes one after the other. */
const SPREAD = 0x9e3779b1

/**
 * Whose turn it is to fetch a piece: of the nodes that miss it, as many as hold it, those with the highest random weight
 * for it (rendezvous hashing). Nodes that know the same of each other say the same without a word, so that a holder
 * sends a piece to one that passes it on, and not to all who miss it.
 */
export class PieceTurns {
  readonly #own: number
  readonly #others: readonly { readonly hash: number; readonly have: HaveSet }[]

  /** @param others nodes that download the blob, beside the one with the id `peerId` */
  constructor(peerId: string, others: Iterable<Downloader>) {
    this.#own = hashOfText(peerId)
    this.#others = [...others].map((other) => ({ hash: hashOfText(other.peerId), have: other.have }))
  }

  /** Whether it is this node's turn, which misses the piece. `holders`: how many hold it. */
  isOwn(piece: number, holders: number): boolean {
    const spread = Math.imul(piece + 1, SPREAD)
    const weight = randomWeight(this.#own ^ spread)
    let before = 0
    for (const { hash, have } of this.#others) {
      if (!have.has(piece) && randomWeight(hash ^ spread) > weight && ++before >= holders) return false
    }
    return true
  }
}
