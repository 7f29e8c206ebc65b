import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import type { Stream } from '@libp2p/interface'
import { type DigestAlgorithm, errorChain, type Logger, type Startable } from '@shoal/core'
import type { Identity } from '@shoal/core/service'
import { outcomeOf } from '@shoal/origin'
import type { OriginClientOptions, OriginMetrics } from '@shoal/origin/service'
import type { GrowingBlob, OriginRequest } from '../download/dependencies.ts'
import type { Finding } from '../lane/client.ts'
import { ClockLog } from '../lane/clock-log.ts'
import { LANE_TROUBLES, LaneError, type LaneErrorCode } from '../lane/errors.ts'
import type { HeldBlob } from '../lane/held-blobs.ts'
import { createIdentityCertificate } from '../lane/identity-certificate.ts'
import type { LaneMetrics } from '../lane/metrics.ts'
import type { LaneParent, PieceRequest } from '../lane/piece-fetch.ts'
import { CountsReader, createCountsMemory } from '../lane/shared-counts.ts'
import { UnreachedParents } from '../lane/unreached.ts'
import { createSlotsMemory, SlotsReader } from '../lane/upload-slots.ts'
import { createSharesMemory } from '../lane/upload-turns.ts'
import { NodeLimits } from '../limits/node-limits.ts'
import { createCancelFlag, setCancelFlag, setHurryFlag } from './cancel-flag.ts'
import { unpackFailure } from './failures.ts'
import type { LaneOptions, TaskName, TaskResult, TaskTable, WorkerSettings } from './messages.ts'
import type { WrittenPiece } from './origin-run.ts'
import { probePort } from './port-probe.ts'
import { bridge, tellUser } from './stream-bridge.ts'
import { Threads } from './threads.ts'
import { WorkerLines } from './worker-lines.ts'

/** A thread that is busy for more of the time answers late. */
const BUSY_SHARE = 0.6

export interface WorkerPoolOptions {
  /** Worker threads, at least 1. */
  readonly threads: number
  /** The threads but one are started once that takes this share of a core; 0: with the first work; left out: 0.6. */
  readonly busyShare?: number
  readonly lane: LaneOptions
  readonly origins: OriginClientOptions
}

export interface WorkerPoolDependencies {
  readonly identity: Identity
  readonly log: Logger
  readonly metrics: LaneMetrics
  readonly originMetrics: OriginMetrics
  /** What this node holds of a blob; undefined: nothing. */
  readonly lookup: (digest: string) => HeldBlob | undefined
  /** Told of pieces that have nearly come; left out: nobody asks. */
  readonly ending?: (digest: string, piece: number) => void
  /** Opens a libp2p stream to a peer, for pieces of a parent whose lane is not reached; left out: there is none. */
  readonly openStream?: (peerId: string, signal: AbortSignal) => Promise<Stream>
  /** A peer says that a piece was wrong when it came from this node; left out: nobody asks. */
  readonly rejected?: (digest: string, piece: number, peerId: string) => void
  /** The node's rate limits; left out: none. */
  readonly limits?: NodeLimits
}

interface Running {
  readonly threads: Threads
  readonly lines: WorkerLines
  readonly port: number
}

/**
 * The node's worker threads: they own the lane, both ways, and all hashing. The main thread learns of a piece only
 * that it is verified, or why not.
 */
export class WorkerPool implements Startable {
  readonly #options: WorkerPoolOptions
  readonly #deps: WorkerPoolDependencies
  readonly #limits: NodeLimits
  readonly #unreached = new UnreachedParents()
  readonly #clocks: ClockLog
  readonly #reported = new WeakSet<Error>()
  #starting: Promise<Running> | undefined
  #running: Running | undefined
  #stopping: Promise<void> | undefined

  constructor(options: WorkerPoolOptions, deps: WorkerPoolDependencies) {
    this.#options = options
    this.#deps = deps
    this.#clocks = new ClockLog(deps.log)
    this.#limits = deps.limits ?? new NodeLimits()
    this.#limits.follow((limits) => this.#running?.lines.limit(limits))
  }

  /**
   * Resolves when the lane accepts connections. Throws CoreError `PORT_IN_USE` or `LISTEN_FAILED`, and then
   * nothing is left running.
   */
  async start(): Promise<void> {
    if (this.#stopping !== undefined) await this.#stopping
    this.#starting ??= this.#open()
    const starting = this.#starting
    try {
      const running = await starting
      if (this.#starting !== starting) return
      this.#running = running
      // They may have changed since the first threads were told.
      running.lines.limit(this.#limits.inForce)
    } catch (error) {
      if (this.#starting === starting) this.#starting = undefined
      throw error
    }
  }

  /** Ends all tasks (`aborted`), closes all connections and threads. */
  stop(): Promise<void> {
    this.#stopping ??= this.#close().finally(() => {
      this.#stopping = undefined
    })
    return this.#stopping
  }

  /** The port of the lane; 0 before `start` and after `stop`. */
  get lanePort(): number {
    return this.#running?.port ?? 0
  }

  /**
   * Fetches a piece from a parent, checks its sha256 and writes it into the file. It is written as it arrives, so its
   * place in the file holds anything until this resolves; a piece must have one writer at a time. Once this has
   * settled nothing is written any more. Throws LaneError.
   * @param hurry aborts when another parent is at hand: this one is left as stalled when it is quiet for long
   */
  fetchPiece(
    request: PieceRequest,
    signal: AbortSignal,
    hurry?: AbortSignal,
  ): Promise<TaskTable['fetchPiece']['output']> {
    return this.#limits.fetches.pass(signal, () => {
      const way = this.#unreached.wayTo(request.parent, performance.now())
      return this.#run('fetchPiece', { request, way }, signal, { hurry })
    })
  }

  /** Serves pieces to a peer on a libp2p stream, under the rules of the lane. */
  serve(peerId: string, stream: Stream): void {
    const running = this.#running
    running?.threads.grow()
    const port = running?.lines.serve(peerId)
    if (port === undefined) stream.abort(new Error('this node serves no pieces'))
    else bridge(stream, port)
  }

  /**
   * Fetches consecutive pieces from their origin in one request and writes them, telling of each as it is written. A
   * piece must have one writer at a time. Throws OriginError, or LaneError `local` or `aborted`.
   */
  async fetchFromOrigin(
    request: OriginRequest,
    onPiece: (piece: number, sha256: Uint8Array) => void,
    signal: AbortSignal,
  ): Promise<TaskTable['fetchOriginRun']['output']> {
    const { source, ...run } = request
    const { port1, port2 } = new MessageChannel()
    const told = ({ piece, sha256 }: WrittenPiece) => onPiece(piece, sha256)
    port1.on('message', told)
    const beganMs = performance.now()
    let outcome = 'ok'
    try {
      const input = { ...run, ...source, progress: port2 }
      return await this.#limits.originRuns.pass(signal, () =>
        this.#run('fetchOriginRun', input, signal, { transferList: [port2] }),
      )
    } catch (error) {
      outcome = outcomeOf(error)
      throw error
    } finally {
      // What the thread said last may still be in the channel when the task's end arrives by Piscina's own.
      for (let last = receiveMessageOnPort(port1); last !== undefined; last = receiveMessageOnPort(port1)) {
        told(last.message as WrittenPiece)
      }
      port1.close()
      this.#deps.originMetrics.onRequest('blob', outcome, (performance.now() - beganMs) / 1000)
    }
  }

  /** The digest (hex) of a blob, computed while its pieces arrive. Throws LaneError `local` or `aborted`. */
  hashGrowing(blob: GrowingBlob, signal: AbortSignal): Promise<string> {
    return this.#run('hashGrowing', blob, signal)
  }

  /** The digest (hex) of a whole file. Throws LaneError `local` or `aborted`. */
  hashBlob(file: string, algorithm: DigestAlgorithm, signal: AbortSignal): Promise<string> {
    return this.#run('hashBlob', { file, algorithm }, signal)
  }

  /**
   * The digest of the blob of `size` bytes in `file` and the sha256 of each of its pieces, in one reading that leaves
   * the threads to others half of the time. Throws LaneError `local` or `aborted`.
   */
  hashUnhurried(
    file: string,
    size: number,
    algorithm: DigestAlgorithm,
    signal: AbortSignal,
  ): Promise<TaskTable['hashUnhurried']['output']> {
    return this.#run('hashUnhurried', { file, size, algorithm }, signal)
  }

  /**
   * The sha256 of each of `pieces` of the blob of `size` bytes in `file`; zero bytes long where the file ends before
   * the piece does. Throws LaneError `local` or `aborted`.
   */
  hashPieces(file: string, size: number, pieces: readonly number[], signal: AbortSignal): Promise<Uint8Array[]> {
    return this.#run('hashPieces', { file, size, pieces }, signal)
  }

  /** The file of this blob was moved or removed: the threads look it up anew. */
  forget(digest: string): void {
    this.#running?.lines.forget(digest)
  }

  async #run<Name extends TaskName>(
    name: Name,
    input: TaskTable[Name]['input'],
    signal: AbortSignal,
    { transferList = [], hurry }: { transferList?: MessagePort[]; hurry?: AbortSignal | undefined } = {},
  ): Promise<TaskTable[Name]['output']> {
    const running = this.#running
    if (running === undefined || signal.aborted) throw new LaneError('aborted', `the task ${name} was aborted`)
    const cancel = createCancelFlag()
    const abort = () => setCancelFlag(cancel)
    const hasten = () => setHurryFlag(cancel)
    signal.addEventListener('abort', abort, { once: true })
    if (hurry?.aborted) hasten()
    else hurry?.addEventListener('abort', hasten, { once: true })
    let result: TaskResult<TaskTable[Name]['output']>
    try {
      result = await running.threads.run({ name, input, cancel }, transferList)
    } catch (cause) {
      // Nothing may be written after this settles, so the threads must have ended.
      if (this.#stopping !== undefined) await this.#stopping
      if (this.#running !== running) throw new LaneError('aborted', `the task ${name} ended with the pool`, { cause })
      this.#reportDeath(cause)
      throw new LaneError('local', `the worker thread of the task ${name} died`, { cause })
    } finally {
      signal.removeEventListener('abort', abort)
      hurry?.removeEventListener('abort', hasten)
    }
    if (result.isDone) return result.output
    throw unpackFailure(result.failure)
  }

  /** Every task of a thread that died fails with the same error: it is logged once. */
  #reportDeath(err: unknown): void {
    if (!(err instanceof Error) || this.#reported.has(err)) return
    this.#reported.add(err)
    this.#deps.log.error({ err }, 'worker thread failed, and its tasks with it')
  }

  async #openStream(peerId: string, port: MessagePort): Promise<void> {
    const unwanted = new AbortController()
    port.once('close', () => unwanted.abort())
    try {
      const { openStream } = this.#deps
      if (openStream === undefined) throw new Error('this node has no libp2p')
      const stream = await openStream(peerId, unwanted.signal)
      if (unwanted.signal.aborted) {
        stream.abort(new Error('the stream is not wanted any more'))
        return
      }
      tellUser(port, { type: 'opened', peerId })
      bridge(stream, port)
    } catch (error) {
      tellUser(port, { type: 'broke', reason: errorChain(error) })
      port.close()
    }
  }

  #found(parent: LaneParent, finding: Finding, why: LaneErrorCode | undefined): void {
    const { log } = this.#deps
    if (finding === 'unreached') {
      if (!this.#unreached.add(parent, performance.now())) return
      log.info(
        { parent, ...(why === undefined ? {} : { why: LANE_TROUBLES[why] }) },
        'the lane of a node is not reached, libp2p is; its pieces go over that',
      )
    } else if (this.#unreached.delete(parent) && finding === 'reached') {
      log.info({ parent }, 'the lane of a node is reached again')
    }
  }

  async #open(): Promise<Running> {
    const { lane, origins, threads: count, busyShare = BUSY_SHARE } = this.#options
    const { identity, log, metrics, lookup, ending } = this.#deps
    await probePort('the lane', lane.host, lane.port)
    const counts = createCountsMemory(count)
    const slots = createSlotsMemory(lane.uploadSlots, count)
    const settings: WorkerSettings = {
      lane,
      origins,
      peerId: identity.peerId,
      credentials: await createIdentityCertificate(identity.privateKey),
      counts,
      slots,
      shares: createSharesMemory(),
      limits: this.#limits.memory,
    }
    const reader = new CountsReader(counts)
    const lines: WorkerLines = new WorkerLines({
      threads: count,
      host: lane.host,
      port: lane.port,
      lookup,
      log,
      counts: reader,
      slots: new SlotsReader(slots),
      limits: () => this.#limits.inForce,
      busy: () => threads.grow(),
      ending: (digest, piece) => ending?.(digest, piece),
      openStream: (peerId, port) => void this.#openStream(peerId, port),
      found: (parent, finding, why) => this.#found(parent, finding, why),
      rejected: (digest, piece, peerId) => this.#deps.rejected?.(digest, piece, peerId),
      clockDiffers: (peerId, aheadMs) => this.#clocks.found(peerId, aheadMs, performance.now()),
    })
    const threads = new Threads({ count, busyShare }, settings, lines)
    try {
      const port = await lines.listening()
      metrics.follow(reader, () => this.#unreached.count)
      log.info({ host: lane.host, port, threads: count }, 'lane listening')
      return { threads, lines, port }
    } catch (error) {
      lines.close()
      await threads.destroy()
      throw error
    }
  }

  async #close(): Promise<void> {
    const running = await this.#starting?.catch(() => undefined)
    this.#starting = undefined
    this.#running = undefined
    if (running === undefined) return
    running.lines.close()
    await running.threads.destroy()
  }
}
