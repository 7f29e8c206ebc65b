import type { SocketConstructorOpts } from 'node:net'
import { type ConnectionOptions, connect, type SecureContext, type TLSSocket } from 'node:tls'
import { Brake } from '../limits/brake.ts'
import type { SharedBucket } from '../limits/shared-bucket.ts'
import { LaneError } from './errors.ts'
import { FrameParser, type FrameSink } from './frame-parser.ts'
import { encodeFrame, type Frame, type HelloFrame, LANE_VERSION, type ResponseFrame } from './frames.ts'
import { LANE_ALPN, peerOf } from './peer-certificate.ts'
import type { LaneParent, PieceFetch } from './piece-fetch.ts'
import { SECOND_LOOK_MS } from './quiet.ts'
import type { ThreadCounts } from './shared-counts.ts'

/** What the connections of one client share. */
export interface ClientContext {
  readonly connectTimeoutMs: number
  readonly stallTimeoutMs: number
  readonly idleCloseMs: number
  readonly counts: ThreadCounts
  /** The node's download limit; left out: none. */
  readonly limit?: SharedBucket | undefined
  readonly secureContext: SecureContext
  readonly readBuffer: Buffer
}

/** Requests on the wire at once: the parent has the next one at hand while it sends; more would only queue there. */
const MAX_IN_FLIGHT = 8

interface InFlight {
  readonly id: number
  readonly fetch: PieceFetch
}

/** The connection to one parent: checks who answers, then sends requests and takes their responses in order. */
export class ClientConnection implements FrameSink {
  readonly #parent: LaneParent
  readonly #context: ClientContext
  readonly #onClose: (connection: ClientConnection) => void
  readonly #socket: TLSSocket
  readonly #parser = new FrameParser(this)
  #state: 'connecting' | 'hello' | 'ready' | 'closed' = 'connecting'
  readonly #waiting: PieceFetch[] = []
  readonly #inFlight: InFlight[] = []
  readonly #brake: Brake | undefined
  #nextId = 0
  #responses = 0
  #isSuspect = false
  /** When the parent last sent anything, or it was last we who did not read. */
  #heardMs = performance.now()
  #timer: NodeJS.Timeout
  #socketError: Error | undefined

  constructor(parent: LaneParent, context: ClientContext, onClose: (connection: ClientConnection) => void) {
    this.#parent = parent
    this.#context = context
    this.#onClose = onClose
    const options: ConnectionOptions & Pick<SocketConstructorOpts, 'onread'> = {
      host: parent.host,
      port: parent.port,
      secureContext: context.secureContext,
      ALPNProtocols: LANE_ALPN,
      // No authority signs these certificates: peerOf checks them.
      rejectUnauthorized: false,
      onread: { buffer: context.readBuffer, callback: (bytes, buffer) => this.#read(bytes, buffer) },
    }
    this.#socket = connect(options)
    this.#timer = setTimeout(this.#expired, context.connectTimeoutMs)
    this.#socket.setNoDelay(true)
    this.#socket.once('secureConnect', () => this.#greet())
    this.#socket.on('error', (error) => {
      this.#socketError = error
    })
    this.#socket.once('close', () => this.destroy(this.#lost()))
    context.counts.opened('received')
    this.#brake = context.limit === undefined ? undefined : new Brake(context.limit, () => this.#readOn())
  }

  get isIdle(): boolean {
    return this.#state === 'ready' && this.#inFlight.length === 0
  }

  /** Asks for the piece as soon as there is room. */
  request(fetch: PieceFetch): void {
    if (this.#state === 'closed') {
      fetch.fail(this.#lost())
      return
    }
    const wasIdle = this.isIdle
    this.#waiting.push(fetch)
    this.#send()
    // A parent that is silent already does not get longer by being asked for more.
    if (wasIdle) this.#watch()
  }

  /** For how long the parent has sent nothing since `sinceMs`; 0 while it is we who do not read. */
  quietMs(sinceMs: number): number {
    return this.#brake?.isOn === true ? 0 : performance.now() - Math.max(sinceMs, this.#heardMs)
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
    clearTimeout(this.#timer)
    this.#brake?.release()
    this.#parser.stop()
    this.#socket.destroy()
    this.#context.counts.closed('received')
    this.#onClose(this)
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
    if (head.fetch.received === head.fetch.request.length) {
      this.#inFlight.shift()
      this.#send()
      this.#watch()
    } else if (head.fetch.isSettled && !wasSettled) {
      this.#closeIfUnwanted()
    }
  }

  #read(bytes: number, buffer: Uint8Array): boolean {
    if (this.#state === 'closed') return false
    this.#heardMs = performance.now()
    if (this.#isSuspect) this.#watch()
    else this.#timer.refresh()
    try {
      this.#parser.push(Buffer.from(buffer.buffer, buffer.byteOffset, bytes))
    } catch (error) {
      this.#breach(error)
    }
    if (this.#brake === undefined || this.#brake.took(bytes)) return true
    // The parent can not stall while it is we who do not read.
    clearTimeout(this.#timer)
    if (this.#isClosed) this.#brake.release()
    return false
  }

  #readOn(): void {
    this.#heardMs = performance.now()
    this.#watch()
    this.#socket.resume()
  }

  get #isClosed(): boolean {
    return this.#state === 'closed'
  }

  #greet(): void {
    try {
      const peer = peerOf(this.#socket)
      if (peer !== this.#parent.peerId) {
        const data = { expected: this.#parent.peerId, found: peer }
        throw new LaneError('protocol', `it is ${peer}, not ${this.#parent.peerId}`, { data })
      }
    } catch (error) {
      this.#breach(error)
      return
    }
    if (this.#state !== 'connecting') return
    this.#state = 'hello'
    this.#socket.write(
      encodeFrame({ type: 'hello', lowestVersion: LANE_VERSION, highestVersion: LANE_VERSION, features: 0 }),
    )
  }

  #greeted(hello: HelloFrame): void {
    if (hello.lowestVersion > LANE_VERSION || hello.highestVersion < LANE_VERSION) {
      const { lowestVersion, highestVersion } = hello
      throw new LaneError('protocol', `it speaks lane ${lowestVersion} to ${highestVersion}, not ${LANE_VERSION}`)
    }
    this.#state = 'ready'
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
      this.#inFlight.push({ id, fetch })
      const { digest, piece, offset, length } = fetch.request
      this.#socket.write(encodeFrame({ type: 'request', id, digest, piece, offset, length }))
    }
  }

  #watch(): void {
    const { connectTimeoutMs, idleCloseMs, stallTimeoutMs } = this.#context
    const ms = this.isIdle ? idleCloseMs : this.#state === 'ready' ? stallTimeoutMs : connectTimeoutMs
    this.#isSuspect = false
    clearTimeout(this.#timer)
    if (this.#brake?.isOn !== true) this.#timer = setTimeout(this.#expired, ms)
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
    const { peerId, host, port } = this.#parent
    const what = error instanceof Error ? error.message : String(error)
    const data = error instanceof LaneError ? { ...error.data } : {}
    this.destroy(
      new LaneError('protocol', `the parent ${peerId} at ${host}:${port} is refused: ${what}`, { cause: error, data }),
    )
  }

  #expired = (): void => {
    const { peerId, host, port } = this.#parent
    const { connectTimeoutMs, stallTimeoutMs } = this.#context
    if (this.#state !== 'ready') {
      this.destroy(new LaneError('unreachable', `no lane at ${host}:${port} within ${connectTimeoutMs} ms`))
    } else if (this.isIdle) {
      this.destroy(new LaneError('unreachable', 'closed for idleness'))
    } else if (!this.#isSuspect) {
      // While a slow disk blocked the thread the parent's bytes may have piled up unread; they are read before this
      // timer fires again.
      this.#isSuspect = true
      this.#timer = setTimeout(this.#expired, SECOND_LOOK_MS)
    } else {
      this.destroy(new LaneError('stalled', `${peerId} at ${host}:${port} sent no byte for ${stallTimeoutMs} ms`))
    }
  }

  /** Why a connection that closed by itself did so; `data.isStale`: it was good before, so a new one may be too. */
  #lost(): LaneError {
    const { host, port } = this.#parent
    const cause = this.#socketError
    const why = cause === undefined ? 'closed by the parent' : cause.message
    const data = { isStale: this.#responses > 0 }
    return new LaneError('unreachable', `the lane at ${host}:${port} broke: ${why}`, { cause, data })
  }
}

function withoutRetry(reason: LaneError): LaneError {
  return new LaneError(reason.code, reason.message, { cause: reason.cause, data: { ...reason.data, isStale: false } })
}
