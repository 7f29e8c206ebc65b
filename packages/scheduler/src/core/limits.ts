/** What the core keeps at most. Beyond a bound it refuses what is new, and goes on with all else. */
export interface Limits {
  /** Blobs that one node holds whole, and holdings of all nodes together. */
  readonly nodeHoldings: number
  readonly holdings: number
  /** Different blobs that are held or wanted. */
  readonly blobs: number
  /** Blobs that one node waits for at once, and their pieces together. */
  readonly nodeJoins: number
  readonly nodePieces: number
  /** Swarms in which one node may take part before further joins and parts of its are refused. */
  readonly nodeSwarms: number
  /** Swarms, and their pieces together. */
  readonly swarms: number
  readonly pieces: number
}

/** Why something was refused: the bound that was met, or the size of the blob. */
export type Bound = keyof Limits | 'blobSize'

/** Pieces of one blob: 1 TiB. */
export const MOST_PIECES = 2 ** 16

/**
 * A cluster of 10 000 nodes does not come near: the largest images have 127 layers, a node's disk holds some thousand
 * blobs, and a swarm lives while somebody waits for it. A swarm takes about 6 KiB and 64 bytes for each piece, a blob
 * 0.5 KiB, a holding 0.1 KiB: with all bounds met, some 2.5 GiB. docs/operations.md has the same numbers.
 */
export const LIMITS: Limits = {
  nodeHoldings: 200_000,
  holdings: 2 ** 24,
  blobs: 2 ** 20,
  nodeJoins: 4096,
  nodePieces: 2 ** 18,
  nodeSwarms: 2 ** 14,
  swarms: 2 ** 16,
  pieces: 2 ** 22,
}

/** What a node is told, and the log says. */
export function refusal(bound: Bound, limits: Limits): string {
  switch (bound) {
    case 'blobSize':
      return `a blob may have at most ${MOST_PIECES} pieces, which are 1 TiB`
    case 'nodeHoldings':
      return `a node may announce at most ${limits.nodeHoldings} blobs; nobody will fetch the others from it`
    case 'nodeJoins':
      return `a node may wait for at most ${limits.nodeJoins} blobs at once`
    case 'nodePieces':
      return `what a node waits for at once may have at most ${limits.nodePieces} pieces`
    case 'nodeSwarms':
      return `a node may take part in at most ${limits.nodeSwarms} swarms at once`
    case 'holdings':
      return `the scheduler remembers at most ${limits.holdings} holdings of all nodes; run more schedulers`
    case 'blobs':
      return `the scheduler knows at most ${limits.blobs} different blobs; run more schedulers`
    case 'swarms':
      return `nodes may wait for at most ${limits.swarms} different blobs at once; run more schedulers`
    case 'pieces':
      return `the blobs that nodes wait for may have at most ${limits.pieces} pieces together; run more schedulers`
  }
}
