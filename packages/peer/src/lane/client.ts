import { createSecureContext, type SecureContext } from 'node:tls'
import type { SharedBucket } from '../limits/shared-bucket.ts'
import { ClientConnection, type ClientContext } from './client-connection.ts'
import { LaneError } from './errors.ts'
import { type LaneCredentials, laneSecureOptions } from './peer-certificate.ts'
import { type LaneParent, PieceFetch, type PieceRequest } from './piece-fetch.ts'
import { watchForQuiet } from './quiet.ts'
import type { LaneOutcome, ThreadCounts } from './shared-counts.ts'

export interface LaneClientOptions {
  /** TCP, TLS and hello together. */
  readonly connectTimeoutMs: number
  /** A parent that sends no byte for this long while a piece is awaited has stalled. */
  readonly stallTimeoutMs: number
  /** A connection without requests is closed after this. */
  readonly idleCloseMs: number
}

export interface LaneClientDependencies {
  readonly credentials: LaneCredentials
  readonly counts: ThreadCounts
  /** The node's download limit; left out: none. */
  readonly limit?: SharedBucket
}

/** Connections kept; the ones unused for longest are closed for new ones beyond it. */
const MAX_CONNECTIONS = 256
/** Bytes read from a socket at once; TLS hands them over in records of 16 KiB. */
const READ_BYTES = 64 * 1024

/** The fetching side of the lane in one thread: one persistent connection to each parent. */
export class LaneClient {
  readonly #counts: ThreadCounts
  readonly #context: ClientContext
  readonly #freeStages: Buffer[] = []
  /** In the order of last use. */
  readonly #connections = new Map<string, ClientConnection>()

  constructor(options: LaneClientOptions, deps: LaneClientDependencies) {
    this.#counts = deps.counts
    const secureContext: SecureContext = createSecureContext(laneSecureOptions(deps.credentials))
    const { counts, limit } = deps
    // One read buffer serves all connections: each read is dealt with before the next one begins.
    this.#context = {
      ...options,
      counts,
      limit,
      secureContext,
      readBuffer: Buffer.allocUnsafeSlow(READ_BYTES),
    }
  }

  /**
   * Fetches a piece into its file and verifies it. When it resolves or rejects, nothing is written any more. Throws
   * LaneError.
   * @param hurry aborts when another parent is at hand for the piece: this one has stalled when it is quiet for long
   */
  async fetch(request: PieceRequest, signal: AbortSignal, hurry?: AbortSignal): Promise<void> {
    let outcome: LaneOutcome = 'ok'
    let bytes = 0
    try {
      for (let attempt = 0; ; attempt++) {
        const fetch = new PieceFetch(request, this.#freeStages)
        try {
          await this.#attempt(fetch, signal, hurry)
          return
        } catch (error) {
          // A kept connection may have been closed by the parent for idleness just as we asked.
          if (attempt > 0 || !(error instanceof LaneError) || error.data.isStale !== true) throw error
        } finally {
          bytes += fetch.received
        }
      }
    } catch (error) {
      outcome = error instanceof LaneError ? error.code : 'local'
      throw error
    } finally {
      this.#counts.ended('received', outcome, bytes)
    }
  }

  close(): void {
    for (const connection of this.#connections.values()) {
      connection.destroy(new LaneError('aborted', 'the lane is being closed'))
    }
  }

  async #attempt(fetch: PieceFetch, signal: AbortSignal, hurry: AbortSignal | undefined): Promise<void> {
    const { parent } = fetch.request
    let connection: ClientConnection | undefined
    let stopWatch = () => {}
    const leave = (error: LaneError) => {
      fetch.fail(error)
      connection?.drop(fetch)
    }
    const abort = () => leave(aborted(fetch.request))
    const watch = () => {
      const quietMs = () => connection?.quietMs(fetch.beganMs) ?? 0
      stopWatch = watchForQuiet(quietMs, () => leave(quiet(fetch.request)))
    }
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    try {
      if (!fetch.isSettled) {
        connection = this.#connectionTo(parent)
        connection.request(fetch)
        if (hurry?.aborted) watch()
        else hurry?.addEventListener('abort', watch, { once: true })
      }
    } catch (cause) {
      fetch.fail(new LaneError('unreachable', `${parent.host}:${parent.port} is no address of a lane`, { cause }))
    }
    try {
      await fetch.done
    } finally {
      signal.removeEventListener('abort', abort)
      hurry?.removeEventListener('abort', watch)
      stopWatch()
    }
  }

  #connectionTo(parent: LaneParent): ClientConnection {
    const key = `${parent.peerId}@${parent.host}:${parent.port}`
    let connection = this.#connections.get(key)
    if (connection !== undefined) {
      this.#connections.delete(key)
    } else {
      if (this.#connections.size >= MAX_CONNECTIONS) this.#closeOneIdle()
      connection = new ClientConnection(parent, this.#context, (closed) => {
        if (this.#connections.get(key) === closed) this.#connections.delete(key)
      })
    }
    this.#connections.set(key, connection)
    return connection
  }

  #closeOneIdle(): void {
    for (const connection of this.#connections.values()) {
      if (!connection.isIdle) continue
      connection.destroy(new LaneError('unreachable', 'closed to make room'))
      return
    }
  }
}

function aborted(request: PieceRequest): LaneError {
  return new LaneError('aborted', `the fetch of piece ${request.piece} of ${request.digest} was aborted`)
}

function quiet({ piece, digest, parent }: PieceRequest): LaneError {
  const message = `${parent.peerId} sends nothing of piece ${piece} of ${digest}, which another node is to send`
  return new LaneError('stalled', message)
}
