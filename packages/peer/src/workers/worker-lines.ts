import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { type CoreError, type Logger, listenError } from '@shoal/core'
import type { Finding } from '../lane/client.ts'
import type { LaneErrorCode } from '../lane/errors.ts'
import type { HeldBlob } from '../lane/held-blobs.ts'
import type { LaneParent } from '../lane/piece-fetch.ts'
import type { CountsReader } from '../lane/shared-counts.ts'
import type { SlotsReader } from '../lane/upload-slots.ts'
import type { Limits } from '../limits/options.ts'
import type { ToMain, ToWorker } from './messages.ts'
import type { ThreadsListener } from './threads.ts'

export interface WorkerLinesOptions {
  readonly threads: number
  readonly host: string
  /** 0: the first thread binds any free port, the others the same one. */
  readonly port: number
  readonly lookup: (digest: string) => HeldBlob | undefined
  readonly log: Logger
  readonly counts: CountsReader
  /** Told when somebody connected to the lane. */
  readonly busy: () => void
  readonly slots: SlotsReader
  /** A thread wants a libp2p stream to a peer, which it uses by the other end of `port`. */
  readonly openStream: (peerId: string, port: MessagePort) => void
  /** A thread found something out about the way to a parent. */
  readonly found: (parent: LaneParent, finding: Finding, why: LaneErrorCode | undefined) => void
  /** A peer says that a piece was wrong when it came from this node. */
  readonly rejected: (digest: string, piece: number, peerId: string) => void
  /** The clock of a node is ahead of ours by so much; negative: behind. */
  readonly clockDiffers: (peerId: string, aheadMs: number) => void
  /** A piece that a thread fetches has nearly come. */
  readonly ending: (digest: string, piece: number) => void
  /** The rate limits in force. */
  readonly limits: () => Limits
}

const START_TIMEOUT_MS = 30_000
const LISTEN_AGAIN_MS = 1000

interface Line {
  readonly port: MessagePort
  readonly thread: number
  /** Blobs that the thread may have open, so that it is not woken for each of the others. */
  readonly found: Set<string>
  isListening: boolean
  /** Streams that it serves. */
  streams: number
}

/**
 * The main thread's lines to its worker threads: tells each where to listen, also those that take the place of one
 * that died, and answers what they ask.
 */
export class WorkerLines implements ThreadsListener {
  readonly #options: WorkerLinesOptions
  readonly #lines = new Map<number, Line>()
  /** Threads that wait for the number of one whose end was not seen yet. */
  readonly #unnumbered: MessagePort[] = []
  readonly #started = Promise.withResolvers<number>()
  #lanePort: number
  #isStarted = false
  #isClosed = false

  constructor(options: WorkerLinesOptions) {
    this.#options = options
    this.#lanePort = options.port
  }

  /** The lane's port once the first thread listens on it. Throws CoreError `PORT_IN_USE` or `LISTEN_FAILED`. */
  async listening(): Promise<number> {
    // Threads and their ports do not keep the process alive; this does, as long as it takes.
    const timer = setTimeout(() => this.#started.reject(this.#listenError('ETIMEDOUT')), START_TIMEOUT_MS)
    try {
      return await this.#started.promise
    } finally {
      clearTimeout(timer)
    }
  }

  failed(err: Error): void {
    this.#options.log.error({ err }, 'worker thread failed')
    this.#started.reject(err)
  }

  forget(digest: string): void {
    for (const { port, found } of this.#lines.values()) if (found.delete(digest)) tell(port, { type: 'forget', digest })
  }

  /** Tells every thread that other rate limits are in force. */
  limit(limits: Limits): void {
    for (const { port } of this.#lines.values()) tell(port, { type: 'limit', limits })
  }

  /**
   * Has a peer served on a libp2p stream, by the thread that serves the fewest; returns the channel's end by which the
   * stream is to be passed on, or undefined when there is no thread.
   */
  serve(peerId: string): MessagePort | undefined {
    let least: Line | undefined
    for (const line of this.#lines.values()) {
      tell(line.port, { type: 'cutOff', peerId })
      if (line.isListening && (least === undefined || line.streams < least.streams)) least = line
    }
    if (least === undefined) return undefined
    const line = least
    const { port1, port2 } = new MessageChannel()
    line.streams++
    port1.once('close', () => line.streams--)
    tell(line.port, { type: 'serve', peerId, port: port2 }, [port2])
    return port1
  }

  close(): void {
    this.#isClosed = true
    for (const { port } of this.#lines.values()) port.close()
    for (const port of this.#unnumbered.splice(0)) port.close()
  }

  connected(port: MessagePort): void {
    const thread = this.#freeThread()
    if (this.#isClosed) {
      port.close()
    } else if (thread === undefined) {
      this.#unnumbered.push(port)
    } else {
      const line: Line = { port, thread, found: new Set(), isListening: false, streams: 0 }
      const isFirst = this.#lines.size === 0
      this.#lines.set(thread, line)
      port.on('message', (message: ToMain) => this.#receive(line, message))
      port.once('close', () => this.#disconnected(line))
      port.unref()
      tell(port, { type: 'limit', limits: this.#options.limits() })
      if (this.#lanePort !== 0 || isFirst) tell(port, { type: 'listen', port: this.#lanePort, thread })
    }
  }

  #disconnected(line: Line): void {
    this.#lines.delete(line.thread)
    this.#options.counts.clearThread(line.thread)
    this.#options.slots.clearThread(line.thread)
    if (this.#isClosed) return
    this.#options.log.error({ thread: line.thread }, 'worker thread ended, another takes its place')
    const next = this.#unnumbered.shift()
    if (next !== undefined) this.connected(next)
  }

  #receive(line: Line, message: ToMain): void {
    const { log } = this.#options
    switch (message.type) {
      case 'lookUp':
        this.#answer(line, message.id, message.digest)
        break
      case 'readFailed':
        log.warn({ digest: message.digest, reason: message.reason }, 'held piece can not be read')
        break
      case 'ending':
        this.#options.ending(message.digest, message.piece)
        break
      case 'busy':
        this.#options.busy()
        break
      case 'openStream':
        this.#options.openStream(message.peerId, message.port)
        break
      case 'found':
        this.#options.found(message.parent, message.finding, message.why)
        break
      case 'rejected':
        this.#options.rejected(message.digest, message.piece, message.peerId)
        break
      case 'clockDiffers':
        this.#options.clockDiffers(message.peerId, message.aheadMs)
        break
      case 'listening':
        line.isListening = true
        this.#listening(line, message.port)
        break
      case 'listenFailed':
        this.#listenFailed(line, message.systemCode)
        break
    }
  }

  #answer(line: Line, id: number, digest: string): void {
    const held = this.#options.lookup(digest)
    if (held !== undefined) line.found.add(digest)
    tell(line.port, { type: 'found', id, held })
  }

  #listening(line: Line, lanePort: number): void {
    if (this.#lanePort === 0) {
      this.#lanePort = lanePort
      for (const { port, thread } of this.#lines.values()) {
        if (thread !== line.thread) tell(port, { type: 'listen', port: lanePort, thread })
      }
    }
    if (this.#isStarted) this.#options.log.info({ thread: line.thread, port: lanePort }, 'worker thread listening')
    this.#isStarted = true
    this.#started.resolve(lanePort)
  }

  #listenFailed(line: Line, systemCode: string | undefined): void {
    const error = this.#listenError(systemCode)
    if (!this.#isStarted) {
      this.#started.reject(error)
      return
    }
    this.#options.log.error({ err: error, thread: line.thread }, 'worker thread can not listen, will try again')
    setTimeout(() => {
      tell(line.port, { type: 'listen', port: this.#lanePort, thread: line.thread })
    }, LISTEN_AGAIN_MS).unref()
  }

  #freeThread(): number | undefined {
    for (let thread = 0; thread < this.#options.threads; thread++) if (!this.#lines.has(thread)) return thread
    return undefined
  }

  #listenError(systemCode: string | undefined): CoreError {
    const cause = Object.assign(new Error('a worker thread can not listen'), { code: systemCode })
    return listenError('the lane', this.#options.host, this.#lanePort, cause)
  }
}

function tell(port: MessagePort, message: ToWorker, transferList: MessagePort[] = []): void {
  port.postMessage(message, transferList)
}
