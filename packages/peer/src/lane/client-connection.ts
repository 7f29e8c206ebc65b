import type { Duplex } from 'node:stream'
import { Brake, type SharedBucket, secondLook } from '@shoal/core'
import type { LinkListener, Links } from './client-link.ts'
import { clockDifferenceMs } from './clock-difference.ts'
import { LaneError } from './errors.ts'
import { FrameParser, type FrameSink } from './frame-parser.ts'
import {
  encodeFrame,
  FEATURES,
  type Frame,
  type HelloFrame,
  LANE_VERSION,
  ownHello,
  type ResponseFrame,
} from './frames.ts'
import type { LinkShare } from './link-share.ts'
import { LinkTurn } from './link-turn.ts'
import type { LaneParent, PieceFetch } from './piece-fetch.ts'
import { probeReach } from './reach-probe.ts'
import type { ThreadCounts } from './shared-counts.ts'

/** What the connections of one client over one transport share. */
export interface ClientContext {
  readonly links: Links
  /** What all connections of the thread get; left out: there is only one. */
  readonly share?: LinkShare
  readonly connectTimeoutMs: number
  readonly stallTimeoutMs: number
  readonly idleCloseMs: number
  /** Once it is its turn, a piece may take `patienceMs`, and as long again as it takes at this rate. */
  readonly slowestBytesPerSecond?: number
  readonly patienceMs?: number
  readonly counts: ThreadCounts
  /** Whether pieces can come another way, so that a parent that is not reached is to be given up early. */
  readonly isEager?: boolean
  /** The node's download limit; left out: none. */
  readonly limit?: SharedBucket | undefined
  /** This node's peer id, to know it when it answers itself; left out: it is not known. */
  readonly ownPeerId?: string | undefined
}

/** Who is told what becomes of a connection. */
export interface ConnectionListener {
  /** The parent answers, and is who it should be. */
  ready(connection: ClientConnection): void
  /** The parent's clock is far ahead of ours by so much; negative: behind. */
  clockDiffers?(aheadMs: number): void
  /** No way leads to the parent any more; the connection is about to be closed. */
  cutOff(connection: ClientConnection): void
  closed(connection: ClientConnection): void
}

/** Requests on the wire at once: the parent has the next one at hand while it sends; more would only queue there. */
const MAX_IN_FLIGHT = 8
const PATIENCE_MS = 30_000
/** A quarter of the lowest rate limit, which two sends may share for a while. */
const SLOWEST_BYTES_PER_SECOND = 16 * 1024
/** An eager connection that is not there by then may still come, but pieces do not wait for it. */
const LATE_MS = 500
/** An eager connection on which no byte came for so long: perhaps the parent is slow, perhaps it is cut off. */
const SILENT_MS = 500

interface InFlight {
  readonly id: number
  readonly fetch: PieceFetch
}

/** The connection to one parent: checks who answers, then sends requests and takes their responses in order. */
export class ClientConnection implements FrameSink, LinkListener {
  readonly #parent: LaneParent
  readonly #context: ClientContext
  readonly #listener: ConnectionListener
  readonly #socket: Duplex
  readonly #parser = new FrameParser(this)
  #state: 'connecting' | 'hello' | 'ready' | 'closed' = 'connecting'
  readonly #waiting: PieceFetch[] = []
  readonly #inFlight: InFlight[] = []
  readonly #brake: Brake | undefined
  #nextId = 0
  #responses = 0
  #isSuspect = false
  #isSilent = false
  #isLate = false
  #hearsRejections = false
  readonly #turn: LinkTurn
  /** Since when the first of those in flight has been that. */
  #headSinceMs = 0
  #timer: NodeJS.Timeout
  #endSecondLook: (() => void) | undefined
  #lateTimer: NodeJS.Timeout | undefined
  #endProbe: (() => void) | undefined
  #socketError: Error | undefined

  constructor(parent: LaneParent, context: ClientContext, listener: ConnectionListener) {
    this.#parent = parent
    this.#context = context
    this.#listener = listener
    this.#turn = new LinkTurn(context.share)
    this.#socket = context.links.open(parent, this)
    this.#timer = setTimeout(this.#expired, this.#turn.patienceMs(context.connectTimeoutMs))
    if (context.isEager) this.#lateTimer = setTimeout(this.#late, this.#turn.patienceMs(LATE_MS))
    this.#socket.on('error', (error) => {
      this.#socketError = error
    })
    this.#socket.once('close', () => this.destroy(this.#lost()))
    context.counts.opened('received')
    this.#brake = context.limit === undefined ? undefined : new Brake(context.limit, () => this.#readOn())
  }

  get isReady(): boolean {
    return this.#state === 'ready'
  }

  get isIdle(): boolean {
    return this.isReady && this.#inFlight.length === 0
  }

  /**
   * Asks for the piece as soon as there is room.
   * @param isPatient whether it waits for a connection that is late
   */
  request(fetch: PieceFetch, isPatient = false): void {
    if (this.#state === 'closed') {
      fetch.fail(this.#lost())
      return
    }
    if (this.#isLate && !isPatient) {
      fetch.fail(this.#unreached(LATE_MS))
      return
    }
    const wasIdle = this.isIdle
    if (wasIdle) this.#turn.heard()
    this.#waiting.push(fetch)
    this.#send()
    // A parent that is silent already does not get longer by being asked for more.
    if (wasIdle) this.#watch()
  }

  /** How much longer the parent may send nothing, if since `sinceMs` it may for `ms` on a fast link; 0 or less: no longer. */
  leftQuietMs(sinceMs: number, ms: number): number {
    return this.#brake?.isOn === true ? ms : this.#turn.leftQuietMs(sinceMs, ms)
  }

  /** The piece is not wanted any more: unless others are, there is no use in reading it to its end. */
  drop(fetch: PieceFetch): void {
    const index = this.#waiting.indexOf(fetch)
    if (index >= 0) this.#waiting.splice(index, 1)
    this.#closeIfUnwanted()
  }

  /** Closes the connection; what was asked for fails with `reason`. */
  destroy(reason: LaneError): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#endWatch()
    clearTimeout(this.#lateTimer)
    this.#brake?.release()
    this.#parser.stop()
    this.#socket.destroy()
    this.#context.counts.closed('received')
    this.#listener.closed(this)
    this.#turn.end()
    for (const { fetch } of this.#inFlight.splice(0)) fetch.fail(fetch.received > 0 ? withoutRetry(reason) : reason)
    for (const fetch of this.#waiting.splice(0)) fetch.fail(reason)
  }

  frame(frame: Frame): void {
    if (frame.type === 'hello' && this.#state === 'hello') this.#greeted(frame)
    else if (frame.type === 'response' && this.#state === 'ready') this.#respond(frame)
    else throw new LaneError('protocol', `it sent a ${frame.type} where none belongs`)
  }

  payload(bytes: Buffer): void {
    const head = this.#inFlight[0]
    if (head === undefined) return
    const wasSettled = head.fetch.isSettled
    head.fetch.accept(bytes)
    this.#turn.owe(-bytes.length)
    if (head.fetch.received === head.fetch.request.length) {
      this.#inFlight.shift()
      this.#headSinceMs = performance.now()
      if (head.fetch.isWrong && this.#hearsRejections) this.#reject(head)
      this.#send()
      this.#watch()
    } else if (head.fetch.isSettled && !wasSettled) {
      this.#closeIfUnwanted()
    }
  }

  /** Tells the parent, which may not know yet that its disk fails. */
  #reject({ id, fetch }: InFlight): void {
    const { digest, piece, offset, length } = fetch.request
    this.#socket.write(encodeFrame({ type: 'rejected', id, digest, piece, offset, length }))
  }

  read(bytes: Buffer): boolean {
    if (this.#state === 'closed') return false
    this.#turn.came(bytes.length)
    this.#dropProbe()
    if (this.#isSuspect || this.#isSilent) this.#watch()
    else this.#timer.refresh()
    try {
      this.#parser.push(bytes)
    } catch (error) {
      this.#breach(error)
    }
    this.#endIfTooSlow()
    if (this.#brake === undefined || this.#brake.took(bytes.length)) return true
    // The parent can not stall while it is we who do not read.
    this.#endWatch()
    if (this.#isClosed) this.#brake.release()
    return false
  }

  #readOn(): void {
    this.#turn.heard()
    this.#watch()
    this.#socket.resume()
  }

  get #name(): string {
    return this.#context.links.nameOf(this.#parent)
  }

  get #isClosed(): boolean {
    return this.#state === 'closed'
  }

  opened(peerOf: () => string): void {
    try {
      const peer = peerOf()
      if (peer !== this.#parent.peerId) {
        const data = { expected: this.#parent.peerId, found: peer }
        const isSelf = peer === this.#context.ownPeerId
        throw isSelf
          ? new LaneError('self', `this node itself answers there, not ${this.#parent.peerId}`, { data })
          : new LaneError('otherPeer', `it is ${peer}, not ${this.#parent.peerId}`, { data })
      }
    } catch (error) {
      this.#breach(error)
      return
    }
    if (this.#state !== 'connecting') return
    this.#state = 'hello'
    this.#socket.write(encodeFrame(ownHello()))
  }

  #greeted(hello: HelloFrame): void {
    if (hello.lowestVersion > LANE_VERSION || hello.highestVersion < LANE_VERSION) {
      const { lowestVersion, highestVersion } = hello
      throw new LaneError('protocol', `it speaks lane ${lowestVersion} to ${highestVersion}, not ${LANE_VERSION}`)
    }
    this.#state = 'ready'
    this.#hearsRejections = (hello.features & FEATURES.hearsRejections) !== 0
    this.#isLate = false
    clearTimeout(this.#lateTimer)
    this.#listener.ready(this)
    const aheadMs = clockDifferenceMs(hello)
    if (aheadMs !== undefined) this.#listener.clockDiffers?.(aheadMs)
    this.#send()
    this.#watch()
  }

  #send(): void {
    if (this.#state !== 'ready') return
    while (this.#inFlight.length < MAX_IN_FLIGHT) {
      const fetch = this.#waiting.shift()
      if (fetch === undefined) break
      const id = this.#nextId
      this.#nextId = (id + 1) >>> 0
      if (this.#inFlight.push({ id, fetch }) === 1) this.#headSinceMs = performance.now()
      const { digest, piece, offset, length } = fetch.request
      this.#turn.owe(length)
      this.#socket.write(encodeFrame({ type: 'request', id, digest, piece, offset, length }))
    }
  }

  #watch(): void {
    const { connectTimeoutMs, idleCloseMs, stallTimeoutMs } = this.#context
    const patienceMs = this.#mayProbe ? SILENT_MS : stallTimeoutMs
    const ms = this.isIdle
      ? idleCloseMs
      : this.#turn.patienceMs(this.#state === 'ready' ? patienceMs : connectTimeoutMs)
    this.#isSuspect = false
    this.#isSilent = false
    this.#endTimers()
    if (this.#brake?.isOn !== true) this.#timer = setTimeout(this.#expired, ms)
  }

  #endWatch(): void {
    this.#endTimers()
    this.#dropProbe()
  }

  #endTimers(): void {
    clearTimeout(this.#timer)
    this.#endSecondLook?.()
  }

  #dropProbe(): void {
    this.#endProbe?.()
    this.#endProbe = undefined
  }

  get #mayProbe(): boolean {
    return this.#context.isEager === true && this.#context.stallTimeoutMs > SILENT_MS
  }

  /** A parent that sends just enough not to stall would keep a piece, and those behind it, for hours. */
  #endIfTooSlow(): void {
    const head = this.#inFlight[0]
    if (head === undefined) return
    const { patienceMs = PATIENCE_MS, slowestBytesPerSecond = SLOWEST_BYTES_PER_SECOND } = this.#context
    const { length } = head.fetch.request
    if (performance.now() - this.#headSinceMs <= patienceMs + (length / slowestBytesPerSecond) * 1000) return
    this.destroy(new LaneError('stalled', `${this.#parent.peerId} sends a piece of ${length} bytes too slowly`))
  }

  #respond(response: ResponseFrame): void {
    const head = this.#inFlight[0]
    if (head === undefined || head.id !== response.id) throw new LaneError('protocol', 'it answered out of order')
    const { fetch } = head
    const { digest, piece, length } = fetch.request
    this.#responses++
    if (response.status === 'ok') {
      if (response.length !== length) {
        throw new LaneError('protocol', `it sends ${response.length} bytes of piece ${piece}, which has ${length}`)
      }
      return
    }
    this.#inFlight.shift()
    this.#turn.owe(-length)
    this.#headSinceMs = performance.now()
    const from = this.#parent.peerId
    if (response.status === 'busy') fetch.fail(new LaneError('busy', `${from} has no upload slot free`))
    else if (response.status === 'mismatch') {
      fetch.fail(new LaneError('protocol', `${from} cuts ${digest} into other pieces: one of us has its size wrong`))
    } else {
      const why = response.status === 'failed' ? 'can not read' : 'does not hold'
      fetch.fail(new LaneError('notHeld', `${from} ${why} piece ${piece} of ${digest}`))
    }
    this.#send()
    this.#watch()
  }

  #closeIfUnwanted(): void {
    if (this.#waiting.length > 0 || this.isIdle || this.#inFlight.some(({ fetch }) => !fetch.isSettled)) return
    this.destroy(new LaneError('aborted', 'nothing is wanted from the parent any more'))
  }

  #breach(error: unknown): void {
    const { peerId } = this.#parent
    const what = error instanceof Error ? error.message : String(error)
    // Before the hello nothing of the parent was found, good or bad: there may be another way to it.
    const isShakingHands = this.#state !== 'ready'
    const data = { ...(error instanceof LaneError ? error.data : {}), ...(isShakingHands ? { isUnreached: true } : {}) }
    const isNoPeer = error instanceof LaneError && (error.code === 'self' || error.code === 'otherPeer')
    const code = isNoPeer ? error.code : isShakingHands ? 'handshake' : 'protocol'
    this.destroy(
      new LaneError(code, `the parent ${peerId} at ${this.#name} is refused: ${what}`, { cause: error, data }),
    )
  }

  #late = (): void => {
    if (this.#turn.isAwaited) {
      this.#lateTimer = setTimeout(this.#late, LATE_MS)
      return
    }
    this.#isLate = true
    for (const fetch of this.#waiting.splice(0)) fetch.fail(this.#unreached(LATE_MS))
  }

  #unreached(afterMs: number): LaneError {
    const data = { isUnreached: true }
    return new LaneError('unreachable', `${this.#name} was not open within ${afterMs} ms`, { data })
  }

  /** Closes the connection unless a byte comes or the parent takes a new connection, which it does however slow it is. */
  probe(): void {
    if (this.#state !== 'ready') return
    this.#endProbe ??= probeReach(this.#parent, (isReached) => {
      this.#endProbe = undefined
      if (isReached) return
      this.#listener.cutOff(this)
      this.destroy(new LaneError('unreachable', `${this.#name} is cut off`, { data: { isUnreached: true } }))
    })
  }

  #expired = (): void => {
    const { connectTimeoutMs, stallTimeoutMs } = this.#context
    if (this.isIdle) {
      this.destroy(new LaneError('unreachable', 'closed for idleness'))
    } else if (this.#turn.isAwaited) {
      this.#watch()
    } else if (this.#state !== 'ready') {
      this.destroy(this.#unreached(connectTimeoutMs))
    } else if (this.#mayProbe && !this.#isSilent) {
      this.#isSilent = true
      this.probe()
      this.#timer = setTimeout(this.#expired, stallTimeoutMs - SILENT_MS)
    } else if (!this.#isSuspect) {
      // While a slow disk blocked the thread, or others its core, the parent's bytes may have piled up unread.
      this.#isSuspect = true
      this.#endSecondLook = secondLook(this.#expired)
    } else {
      this.destroy(new LaneError('stalled', `no byte came by ${this.#name} for ${stallTimeoutMs} ms`))
    }
  }

  /** Why a connection that closed by itself did so; `data.isStale`: it was good before, so a new one may be too. */
  #lost(): LaneError {
    const cause = this.#socketError
    const why = cause === undefined ? 'closed by the parent' : cause.message
    const isUnreached = this.#state === 'connecting' || this.#state === 'hello'
    const data = { isStale: this.#responses > 0, isUnreached }
    const code = isTlsFailure(cause) ? 'handshake' : 'unreachable'
    return new LaneError(code, `${this.#name} broke: ${why}`, { cause, data })
  }
}

/** Whether what ended a connection was TLS, and not the network below it. */
function isTlsFailure(error: NodeJS.ErrnoException | undefined): boolean {
  return /^(ERR_SSL_|ERR_TLS_|EPROTO$)/.test(error?.code ?? '')
}

function withoutRetry(reason: LaneError): LaneError {
  return new LaneError(reason.code, reason.message, { cause: reason.cause, data: { ...reason.data, isStale: false } })
}
