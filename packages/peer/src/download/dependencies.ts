import type { DigestAlgorithm, Logger } from '@shoal/core'
import type { BlobOrigin, Coordinator } from '../coordinator/events.ts'
import type { PieceRequest } from '../lane/piece-fetch.ts'
import type { StoredBlob } from '../store/blob.ts'
import type { HolderFinder } from '../swarm/holders.ts'
import type { DownloadMetrics } from './metrics.ts'

/** Where a blob may be fetched from its origin, and with what credentials. */
export interface OriginSource extends BlobOrigin {
  /** `Authorization` header of the client that asked; undefined: configured credentials, else anonymous. */
  readonly authorization?: string
}

/** Consecutive pieces to fetch from the origin. */
export interface OriginRequest {
  readonly digest: string
  /** Bytes of the whole blob. */
  readonly size: number
  readonly firstPiece: number
  readonly pieceCount: number
  readonly file: string
  /** Whether the file is made for the one piece that the blob is; else, and left out, it exists. */
  readonly isNewFile?: boolean
  /** One number that grows by the bytes that come, and wraps around; left out: nobody asks. */
  readonly arrivals?: Int32Array<SharedArrayBuffer>
  readonly source: OriginSource
}

/** A blob whose pieces are being written. */
export interface GrowingBlob {
  readonly file: string
  /** Bytes of the whole blob. */
  readonly size: number
  readonly algorithm: DigestAlgorithm
  /** Bits of its have-set, which the main thread writes. */
  readonly have: SharedArrayBuffer
  /** One number that changes, with a notify, whenever a piece was added. */
  readonly progress: Int32Array<SharedArrayBuffer>
}

/** The work that is done off the main thread. */
export interface PieceWorkers {
  /**
   * Fetches, verifies and writes a piece; rejects with LaneError.
   * @param hurry aborts when another parent is at hand for the piece: this one is left, as stalled, when it is quiet
   */
  fetchPiece(request: PieceRequest, signal: AbortSignal, hurry: AbortSignal): Promise<{ durationMs: number }>
  /** Fetches and writes pieces, reporting each with its sha256 as it is written; rejects with OriginError. */
  fetchFromOrigin(
    request: OriginRequest,
    onPiece: (piece: number, sha256: Uint8Array) => void,
    signal: AbortSignal,
  ): Promise<{ rangesIgnored: boolean }>
  /** Digest (hex) of a blob, computed while its pieces arrive; resolves when it is whole. */
  hashGrowing(blob: GrowingBlob, signal: AbortSignal): Promise<string>
}

/** What the engine asks of the store. */
export interface PieceStore {
  find(digest: string): StoredBlob | undefined
  complete(): Iterable<StoredBlob>
  /** Keeps the blob from being evicted until the returned function is called. */
  pin(digest: string): () => void
  /** Notes that the blob is being used. */
  touch(digest: string): void
  /** Bytes of all blobs that were evicted so far. */
  readonly evictedBytes: number
  /**
   * Evicts blobs worth at least `bytes`, where there are such; returns how many bytes are free again. Nothing goes when
   * `evictedBytes` has grown since it was `evictedBefore`.
   */
  makeRoom(bytes: number, evictedBefore: number): Promise<number>
  create(digest: string, size: number): Promise<StoredBlob>
  addPiece(blob: StoredBlob, piece: number, sha256: Uint8Array): Promise<boolean>
  publish(blob: StoredBlob): Promise<void>
  discard(digest: string): Promise<void>
  /** Forgets a blob whose file is not there any more. */
  lost(blob: StoredBlob): Promise<void>
  pieceMap(digest: string): Promise<Uint8Array | undefined>
}

/** What the engine asks of the origin client, besides what the worker threads fetch. */
export interface OriginBlobs {
  /** Size of a blob at its origin, in bytes; rejects with OriginError. */
  blobSize(digest: string, source: OriginSource, signal: AbortSignal): Promise<number>
  /**
   * Gives bytes `start` to `end`, both inclusive, of a blob of `size` bytes to `onChunk`, in order and each once, which
   * must take them before it returns; rejects with OriginError.
   */
  fetchBlob(
    call: OriginSource & { digest: string; size: number; start: number; end: number; signal: AbortSignal },
    onChunk: (chunk: Buffer) => void,
  ): Promise<{ rangesIgnored: boolean }>
}

/** What a download needs. */
export interface DownloadDependencies {
  readonly store: PieceStore
  readonly workers: PieceWorkers
  readonly coordinator: Coordinator
  /** The way to nodes that hold a blob when no scheduler names them. */
  readonly finder: HolderFinder
  readonly metrics: DownloadMetrics
  readonly log: Logger
  /** Milliseconds of a clock that does not step back. */
  readonly now: () => number
  /** 0 ≤ x < 1; spreads what many nodes ask of others. */
  readonly random: () => number
  /** Whether the node's own rate limits hold transfers into it back just now; left out: it has none. */
  readonly isHeldBack?: () => boolean
  /** Called when the first piece of a blob of several came: others may ask for it from now on. */
  readonly begun: (digest: string, isFromOrigin: boolean) => void
  /** Called when a blob is whole and published; `isFromOrigin`: this node fetched some of it there itself. */
  readonly published: (digest: string, isFromOrigin: boolean) => void
}
