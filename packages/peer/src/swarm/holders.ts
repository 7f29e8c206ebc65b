import type { HaveSet } from '@shoal/core'

/** Where a blob is to be fetched from on behalf of all, and where to begin. */
export interface Wanted {
  /** Bytes of the whole blob. */
  readonly size: number
  readonly registry: string
  readonly repository: string
  /** The fetch goes on at the front when it has come to the end. */
  readonly firstPiece: number
}

/** What a node holds of a blob. */
export interface Holdings {
  /** Bytes of the whole blob. */
  readonly size: number
  /** Pieces that are held and whose sha256 is known. */
  readonly have: HaveSet
  /** The sha256 of each piece, 32 bytes each; zero where it is not held. */
  readonly sha256s: Uint8Array
  /** Whether the node is fetching the blob from its origin: more pieces will come. */
  readonly isFetching: boolean
  /** Whether the node is downloading the blob, from whomever. */
  readonly isDownloading: boolean
  /** Peer id of who is to fetch it on behalf of all, as the origin refuses it to the node. */
  readonly fetcher?: string
}

/** What another node holds of a blob, and where its lane is. */
export interface Holder extends Holdings {
  /** libp2p peer id, text form. */
  readonly peerId: string
  readonly host: string
  readonly port: number
}

/** A node, and its libp2p addresses (multiaddr text) as far as somebody told them. */
export interface NamedNode {
  /** libp2p peer id, text form. */
  readonly peerId: string
  readonly multiaddrs?: readonly string[]
}

/** Finds nodes that hold a blob without asking a scheduler. */
export interface HolderFinder {
  /** This node's own peer id. */
  readonly peerId: string
  /** Ids of other nodes that said they hold some of the blob, as they are found. */
  find(digest: string, signal: AbortSignal): AsyncIterable<string>
  /** Ids of the nodes nearest to the digest, this one among them, nearest first; all nodes that ask agree on them. */
  nearest(digest: string, count: number, signal: AbortSignal): Promise<readonly string[]>
  /**
   * What a node holds of the blob of `size` bytes; undefined when that is nothing, or makes no sense. Rejects when the
   * node does not answer.
   * @param wanted has the node fetch the blob from its origin on behalf of all
   */
  ask(
    node: NamedNode,
    blob: { readonly digest: string; readonly size: number },
    wanted: Wanted | undefined,
    signal: AbortSignal,
  ): Promise<Holder | undefined>
}

/** What other nodes may ask of this one. */
export interface HoldingsSource {
  /** What this node holds of the blob; undefined when it has nothing to do with it. */
  holdings(digest: string): Promise<Holdings | undefined>
  /**
   * Another node, `asker`, wants this one to fetch the blob from its origin on behalf of all. Resolves when it is known
   * what comes of it; never rejects.
   */
  fetchForOthers(digest: string, wanted: Wanted, asker: string): Promise<void>
}
