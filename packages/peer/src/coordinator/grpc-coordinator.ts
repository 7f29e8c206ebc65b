import { credentials } from '@grpc/grpc-js'
import { errorChain, type Logger, pause, type Startable } from '@shoal/core'
import {
  type Hello,
  type LeaseFailed_Reason,
  type PieceFailed_Reason,
  Priority,
  SchedulerServiceClient,
} from '@shoal/proto'
import type { BlobOrigin, Coordinator, CoordinatorListener, ParentNode, Urgency } from './events.ts'
import { SchedulerStream } from './scheduler-stream.ts'

const KEEPALIVE_MS = 3000
const RETRY_MIN_MS = 250
const RETRY_MAX_MS = 5000

/** How to reach a scheduler. */
export interface CoordinatorOptions {
  /** `host:port` of the scheduler's gRPC. */
  readonly scheduler: string
}

/** What the coordinator asks of its node. */
export interface CoordinatorDependencies {
  /** Who this node is; asked at each dial, when the ports are known. */
  readonly hello: () => Hello
  /** Who hears the scheduler's commands; asked once, at start. */
  readonly listener: () => CoordinatorListener
  readonly log: Logger
  /** 0 ≤ x < 1; spreads the dials of many nodes. */
  readonly random?: () => number
}

/** A node's side of the scheduler contract: dials for as long as it runs, and turns calls into events. */
export class GrpcCoordinator implements Coordinator, Startable {
  readonly #options: CoordinatorOptions
  readonly #dependencies: CoordinatorDependencies
  #client: SchedulerServiceClient | undefined
  #stream: SchedulerStream | undefined
  #stopping = new AbortController()
  #dialling: Promise<void> = Promise.resolve()

  constructor(options: CoordinatorOptions, dependencies: CoordinatorDependencies) {
    this.#options = options
    this.#dependencies = dependencies
  }

  get isConnected(): boolean {
    return this.#stream?.isWelcome === true
  }

  async start(): Promise<void> {
    if (this.#client !== undefined) return
    this.#stopping = new AbortController()
    this.#client = new SchedulerServiceClient(this.#options.scheduler, credentials.createInsecure(), {
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_MS,
      'grpc.keepalive_permit_without_calls': 1,
      'grpc.initial_reconnect_backoff_ms': RETRY_MIN_MS,
      'grpc.max_reconnect_backoff_ms': RETRY_MAX_MS,
    })
    this.#dialling = this.#dialUntilStopped(this.#client, this.#stopping.signal)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#stream?.cancel()
    await this.#dialling
    this.#client?.close()
    this.#client = undefined
  }

  holding(digest: string, size: number): void {
    this.#stream?.send({ $case: 'holding', value: { digest, size } })
  }

  withdrawn(digest: string): void {
    this.#stream?.send({ $case: 'withdrawn', value: { digest } })
  }

  join(digest: string, size: number, origin: BlobOrigin, have: Uint8Array, urgency: Urgency): void {
    const priority = urgency === 'interactive' ? Priority.INTERACTIVE : Priority.PREFETCH
    const value = { digest, size, origin: { ...origin }, have: Buffer.from(have), priority }
    this.#stream?.send({ $case: 'join', value })
  }

  leave(digest: string): void {
    this.#stream?.send({ $case: 'leave', value: { digest } })
  }

  pieceDone(digest: string, piece: number, parent: ParentNode, durationUs: number): void {
    this.#stream?.sendInSwarm(digest, (swarm) => ({
      $case: 'pieceDone',
      value: { swarm, piece, parent: parent.number, sha256: Buffer.alloc(0), durationUs },
    }))
  }

  pieceFetched(digest: string, piece: number, sha256: Uint8Array, durationUs: number): void {
    this.#stream?.sendInSwarm(digest, (swarm) => ({
      $case: 'pieceDone',
      value: { swarm, piece, parent: 0, sha256: Buffer.from(sha256), durationUs },
    }))
  }

  pieceFailed(digest: string, piece: number, parent: ParentNode, reason: PieceFailed_Reason): void {
    this.#stream?.sendInSwarm(digest, (swarm) => ({
      $case: 'pieceFailed',
      value: { swarm, piece, parent: parent.number, reason },
    }))
  }

  leaseFailed(digest: string, reason: LeaseFailed_Reason): void {
    this.#stream?.sendInSwarm(digest, (swarm) => ({ $case: 'leaseFailed', value: { swarm, reason } }))
  }

  pieceMap(digest: string, size: number, sha256s: Uint8Array): void {
    this.#stream?.send({ $case: 'pieceMap', value: { digest, size, sha256s: Buffer.from(sha256s) } })
  }

  async #dialUntilStopped(client: SchedulerServiceClient, signal: AbortSignal): Promise<void> {
    const { hello, log, random = Math.random } = this.#dependencies
    const listener = this.#dependencies.listener()
    let failures = 0
    while (!signal.aborted) {
      const stream = new SchedulerStream(client.connect(), hello(), listener, log)
      this.#stream = stream
      const { wasWelcome, error } = await stream.ended
      this.#stream = undefined
      if (wasWelcome) listener.disconnected()
      if (signal.aborted) return
      failures = wasWelcome ? 0 : failures + 1
      if (failures <= 1) {
        const fields = { scheduler: this.#options.scheduler, reason: errorChain(error) }
        log.warn(fields, 'no stream to the scheduler; pulls go on without it')
      }
      await pause(Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** failures) * (0.5 + random()), signal)
    }
  }
}
