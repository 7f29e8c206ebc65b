import type { LeaseFailed_Reason, PieceFailed_Reason } from '@shoal/proto'

/** Where a blob can be fetched when no node holds it. */
export interface BlobOrigin {
  /** Registry as the image reference names it, `host[:port]`. */
  readonly registry: string
  readonly repository: string
}

/** A node that holds pieces, as the scheduler introduced it. */
export interface ParentNode {
  /** Number on the stream that the introduction came on; no other stream knows it. */
  readonly number: number
  /** libp2p peer id, text form. */
  readonly peerId: string
  readonly host: string
  readonly port: number
  readonly role: 'peer' | 'seed'
  /** libp2p addresses (multiaddr text), a few. */
  readonly multiaddrs: readonly string[]
}

/** Fetch this piece from this parent. */
export interface PieceAssignment {
  readonly digest: string
  readonly piece: number
  readonly parent: ParentNode
  /** 32 bytes. */
  readonly sha256: Uint8Array
}

/** Fetch these pieces from the origin on behalf of all. */
export interface OriginLease {
  readonly digest: string
  /** Bytes of the whole blob. */
  readonly size: number
  readonly firstPiece: number
  readonly pieceCount: number
  readonly origin: BlobOrigin
}

/** A blob that a node holds whole. */
export interface WholeBlob {
  readonly digest: string
  /** Bytes. */
  readonly size: number
}

/** How fast the node may fetch from origins, all blobs together, by one scheduler. Bytes a second, at least 1. */
export interface OriginShare {
  readonly bytesPerSecond: number
  /** While the node has no scheduler. */
  readonly aloneBytesPerSecond: number
}

/** Why no node can get a blob, or why the scheduler does not try, as the contract names it. */
export type SwarmFailure =
  | 'unauthorized'
  | 'not_found'
  | 'unavailable'
  | 'size_mismatch'
  | 'local'
  | 'digest_mismatch'
  | 'refused'
  | 'unknown'

/** What a scheduler tells a node. Called in the order of the stream; must not throw. */
export interface CommandListener {
  /** Whether the node waits for something of a scheduler now. */
  isWaiting(): boolean
  assigned(assignment: PieceAssignment): void
  leased(lease: OriginLease): void
  /** The lease of the blob is another node's from now on. */
  leaseTaken(digest: string): void
  /** No node can get the blob from the origin; use another way. */
  swarmFailed(digest: string, reason: SwarmFailure): void
  /** It is worth waiting: other nodes get pieces of the blob, or it has its turn at the origin to come. */
  swarmGetsOn(digest: string): void
  pieceMapWanted(digest: string): void
  /** libp2p addresses of some nodes. */
  bootstrap(multiaddrs: readonly string[]): void
}

/** What a node's schedulers tell it. Must not throw. */
export interface CoordinatorListener extends CommandListener {
  /** There is another scheduler for some blobs: what the node wants, or has of them in part, is to be said again. */
  connected(isConcerned: (digest: string) => boolean): void
  /**
   * The scheduler of some blobs decides on them no longer. `connected` follows: now if another one is there, as
   * `isConnected` says, else later.
   */
  disconnected(isConcerned: (digest: string) => boolean): void
  /** Blobs that the node holds whole; asked when there is another scheduler for some. */
  wholeBlobs(): Iterable<WholeBlob>
}

/** How urgent a blob is: a runtime waits for it, or a manifest announced it. */
export type Urgency = 'interactive' | 'prefetch'

/**
 * What a node tells its schedulers, each of them what concerns it. Calls are queued and sent in order; while there is
 * no scheduler they do nothing.
 */
export interface Coordinator {
  /** Whether there is a scheduler: then every blob has one. */
  readonly isConnected: boolean
  holding(digest: string, size: number): void
  /** The node has some of the blob, and does not wait for the rest: it fetches it, or did, for others. */
  holdingPart(digest: string, size: number, have: Uint8Array): void
  withdrawn(digest: string): void
  /** The node wants the blob, and has some of it; said again when it has become more urgent. */
  join(digest: string, size: number, origin: BlobOrigin, have: Uint8Array, urgency: Urgency): void
  leave(digest: string): void
  /** An assigned piece has nearly arrived from `parent`: what is assigned now begins when it is here. */
  pieceEnding(digest: string, piece: number, parent: ParentNode): void
  /** A piece arrived from `parent`, right. Only the scheduler that assigned it hears from whom. */
  pieceDone(digest: string, piece: number, parent: ParentNode, durationUs: number): void
  /** A piece arrived from the origin and has this sha256. */
  pieceFetched(digest: string, piece: number, sha256: Uint8Array, durationUs: number): void
  pieceFailed(digest: string, piece: number, parent: ParentNode, reason: PieceFailed_Reason): void
  /** What was leased arrives, though no piece of it is whole. */
  leaseProgress(digest: string): void
  leaseFailed(digest: string, reason: LeaseFailed_Reason): void
  pieceMap(digest: string, size: number, sha256s: Uint8Array): void
}
