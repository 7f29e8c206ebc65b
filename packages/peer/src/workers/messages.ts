import type { MessagePort } from 'node:worker_threads'
import type { DigestAlgorithm } from '@shoal/core'
import type { OriginClientOptions } from '@shoal/origin/service'
import type { GrowingBlob } from '../download/dependencies.ts'
import type { Finding } from '../lane/client.ts'
import type { LaneErrorCode } from '../lane/errors.ts'
import type { HeldBlob } from '../lane/held-blobs.ts'
import type { LaneCredentials } from '../lane/peer-certificate.ts'
import type { LaneParent, PieceRequest } from '../lane/piece-fetch.ts'
import type { CountsMemory } from '../lane/shared-counts.ts'
import type { Way } from '../lane/unreached.ts'
import type { SlotsMemory } from '../lane/upload-slots.ts'
import type { SharesMemory } from '../lane/upload-turns.ts'
import type { Limits } from '../limits/options.ts'
import type { LimitsMemory } from '../limits/thread-limits.ts'
import type { TaskFailure } from './failures.ts'
import type { WholeHashes } from './hashing.ts'
import type { OriginRun } from './origin-run.ts'

/** How the lane behaves, the same in every worker thread. */
export interface LaneOptions {
  /** Address to listen on. */
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** Pieces sent at once over all threads. */
  readonly uploadSlots: number
  /** A connection without requests is closed after this. */
  readonly idleCloseMs: number
  /** A parent that sends no byte for this long while a piece is awaited has stalled. */
  readonly stallTimeoutMs: number
  /** For TCP, TLS and the hello together. */
  readonly connectTimeoutMs: number
}

/** What a worker thread is started with. */
export interface WorkerSettings {
  readonly lane: LaneOptions
  readonly origins: OriginClientOptions
  readonly credentials: LaneCredentials
  /** This node's own. */
  readonly peerId: string
  readonly counts: CountsMemory
  readonly slots: SlotsMemory
  readonly shares: SharesMemory
  readonly limits: LimitsMemory
}

/** From the main thread to a worker thread. */
export type ToWorker =
  | { readonly type: 'listen'; readonly port: number; readonly thread: number }
  | { readonly type: 'found'; readonly id: number; readonly held: HeldBlob | undefined }
  | { readonly type: 'forget'; readonly digest: string }
  | { readonly type: 'limit'; readonly limits: Limits }
  /** A peer is to be served on a libp2p stream, by the other end of `port` (stream-messages.ts). */
  | { readonly type: 'serve'; readonly peerId: string; readonly port: MessagePort }
  /** A peer that does not get through on the lane came over libp2p. */
  | { readonly type: 'cutOff'; readonly peerId: string }

/** From a worker thread to the main thread. */
export type ToMain =
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'busy' }
  | { readonly type: 'listenFailed'; readonly systemCode: string | undefined }
  | { readonly type: 'lookUp'; readonly id: number; readonly digest: string }
  /** A libp2p stream to a parent is wanted, to be used by the other end of `port` (stream-messages.ts). */
  | { readonly type: 'openStream'; readonly peerId: string; readonly port: MessagePort }
  | {
      readonly type: 'found'
      readonly parent: LaneParent
      readonly finding: Finding
      readonly why: LaneErrorCode | undefined
    }
  /** The clock of a node that said hello is ahead of ours by so much; negative: behind. */
  | { readonly type: 'clockDiffers'; readonly peerId: string; readonly aheadMs: number }
  /** A peer says that a piece was wrong when it came from this node. */
  | { readonly type: 'rejected'; readonly digest: string; readonly piece: number; readonly peerId: string }
  | { readonly type: 'readFailed'; readonly digest: string; readonly reason: string }
  /** A piece that is being fetched has nearly come. */
  | { readonly type: 'ending'; readonly digest: string; readonly piece: number }

/** What each task takes and gives. */
export interface TaskTable {
  fetchPiece: { input: { request: PieceRequest; way: Way }; output: { bytes: number; durationMs: number } }
  fetchOriginRun: { input: OriginRun; output: { rangesIgnored: boolean } }
  hashGrowing: { input: GrowingBlob; output: string }
  hashBlob: { input: { file: string; algorithm: DigestAlgorithm }; output: string }
  hashUnhurried: { input: { file: string; size: number; algorithm: DigestAlgorithm }; output: WholeHashes }
  hashPieces: { input: { file: string; size: number; pieces: readonly number[] }; output: Uint8Array[] }
}
export type TaskName = keyof TaskTable

/** A task as Piscina carries it. */
export interface Task<Name extends TaskName = TaskName> {
  readonly name: Name
  readonly input: TaskTable[Name]['input']
  /** A cancel flag (cancel-flag.ts). */
  readonly cancel: Int32Array<SharedArrayBuffer>
}

/** How a task ended. Failures travel as data. */
export type TaskResult<Output = unknown> =
  | { readonly isDone: true; readonly output: Output }
  | { readonly isDone: false; readonly failure: TaskFailure }
