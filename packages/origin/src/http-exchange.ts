import { type Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { Brake, type SharedBucket, secondLook, systemErrorCode } from '@shoal/core'
import { unbracketed } from './address.ts'
import { decodedBody } from './decoded-body.ts'
import {
  type Exchange,
  ExchangeStall,
  ExchangeTimeout,
  type Receiver,
  ReceiverFault,
  type ResponseHead,
} from './exchange.ts'
import { PARSER_FAULT } from './failure.ts'
import { MAX_HEAD_BYTES } from './lenient-socket.ts'
import type { OriginLimits } from './service/options.ts'

/** What an exchange is sent with. */
export interface HttpExchangeContext {
  readonly agent: Agent
  /** Whether the connection is a tunnel through a proxy, which is begun before anything is told of it. */
  readonly isTunnel: boolean
  /** For the server whose answer Node's parser refuses: asked again over this, with the lenient parser. */
  readonly lenientAgent: () => Agent
  /** Whether the server is known to be such. */
  readonly isLenient: boolean
  /** Told that it is. */
  readonly onLenient: () => void
  readonly limits: OriginLimits
  /** Told of every body chunk's length. */
  readonly onBytes: (count: number) => void
  /** The body comes no faster than this. */
  readonly limit: SharedBucket | undefined
}

/** The same client name everywhere, so that an origin's operator can tell who asks. */
const USER_AGENT = 'shoal'
/** Source: RFC 9110 §5.5, with obs-text. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** One request on its way, and its answer; settles once, whatever comes after. */
export class HttpExchange {
  /** Resolves when the body has ended or the receiver has enough; see transport.ts for what it rejects with. */
  readonly done: Promise<void>
  readonly #exchange: Exchange
  readonly #receiver: Receiver
  readonly #context: HttpExchangeContext
  readonly #settled = Promise.withResolvers<void>()
  readonly #brake: Brake | undefined
  #request: ClientRequest
  #response: IncomingMessage | undefined
  /** Of the answer, decoded. */
  #body: Readable | undefined
  /** Of the whole exchange. */
  #deadline: NodeJS.Timeout | undefined
  /** Of the step under way: connecting, then the head, then each part of the body. */
  #step: NodeJS.Timeout | undefined
  #endSecondLook: (() => void) | undefined
  #isSettled = false
  /** Whether the receiver has yet to say that it took a chunk. */
  #isTaking = false
  #hasEnded = false
  #isLenient: boolean

  constructor(exchange: Exchange, receiver: Receiver, context: HttpExchangeContext) {
    this.#exchange = exchange
    this.#receiver = receiver
    this.#context = context
    this.done = this.#settled.promise
    this.#brake = context.limit === undefined ? undefined : new Brake(context.limit, () => this.#readOn())
    exchange.signal.addEventListener('abort', this.#onAbort)
    if (exchange.totalTimeoutMs !== undefined) {
      this.#deadline = setTimeout(() => this.#fail(new ExchangeTimeout('deadline passed')), exchange.totalTimeoutMs)
    }
    this.#isLenient = context.isLenient
    this.#request = this.#send()
  }

  #send(): ClientRequest {
    const { url, method, headers } = this.#exchange
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const request = send({
      agent: this.#isLenient ? this.#context.lenientAgent() : this.#context.agent,
      insecureHTTPParser: this.#isLenient,
      maxHeaderSize: MAX_HEAD_BYTES,
      // To the proxy, and from there to the host; each has a deadline of its own where nothing is between.
      ...(this.#context.isTunnel ? { timeout: 2 * this.#context.limits.connectTimeoutMs } : {}),
      hostname: unbracketed(url.hostname),
      port: url.port,
      path: url.pathname + url.search,
      method,
      headers: { 'user-agent': USER_AGENT, 'accept-encoding': 'identity', ...headers },
    })
    request.on('socket', (socket) => this.#connecting(socket))
    request.on('response', (response) => this.#answered(response))
    request.on('error', (error) => this.#failedToSend(request, error))
    request.end()
    return request
  }

  #connecting(socket: Socket): void {
    const { connectTimeoutMs, headersTimeoutMs } = this.#context.limits
    const awaitHead = () => this.#limitStep(headersTimeoutMs, () => new ExchangeStall('no answer'))
    if (!socket.connecting) {
      awaitHead()
      return
    }
    const code = 'ETIMEDOUT'
    this.#limitStep(connectTimeoutMs, () => Object.assign(new Error('the connection took too long'), { code }))
    socket.once(this.#exchange.url.protocol === 'https:' ? 'secureConnect' : 'connect', awaitHead)
  }

  #answered(response: IncomingMessage): void {
    this.#response = response
    response.on('error', (error) => this.#fail(error))
    if (this.#isSettled) return
    this.#awaitBody()
    const raw = { status: response.statusCode ?? 0, headers: headersOf(response) }
    const { head, body } = decodedBody(response, this.#exchange.method, raw) ?? { head: raw, body: response }
    this.#body = body
    try {
      this.#receiver.onHead(head)
    } catch (error) {
      this.#fail(new ReceiverFault('the receiver failed', { cause: error }))
      return
    }
    if (body !== response) body.on('error', (error) => this.#fail(error))
    body.on('data', (chunk: Buffer) => this.#received(chunk))
    body.on('end', () => this.#ended())
  }

  #received(chunk: Buffer): void {
    if (this.#isSettled) return
    this.#endSecondLook?.()
    this.#step?.refresh()
    this.#context.onBytes(chunk.length)
    let goesOn: boolean | Promise<boolean>
    try {
      goesOn = this.#receiver.onData(chunk)
    } catch (error) {
      this.#fail(new ReceiverFault('the receiver failed', { cause: error }))
      return
    }
    if (this.#brake?.took(chunk.length) === false) this.#pause()
    if (typeof goesOn !== 'boolean') this.#awaitTaken(goesOn)
    else if (!goesOn) this.#finishEarly()
  }

  /** The end is told as soon as the last chunk is out, also while it is being taken. */
  #ended(): void {
    this.#hasEnded = true
    if (!this.#isTaking) this.#succeed()
  }

  #awaitTaken(taken: Promise<boolean>): void {
    this.#isTaking = true
    this.#pause()
    taken.then(
      (goesOn) => {
        this.#isTaking = false
        if (goesOn && this.#hasEnded) this.#succeed()
        else if (goesOn) this.#readOn()
        else this.#finishEarly()
      },
      (error) => this.#fail(new ReceiverFault('the receiver failed', { cause: error })),
    )
  }

  #finishEarly(): void {
    this.#succeed()
    this.#request.destroy()
  }

  /** The origin can not stall while it is we who do not read. */
  #pause(): void {
    this.#endStep()
    this.#body?.pause()
  }

  #readOn(): void {
    if (this.#isTaking || this.#brake?.isOn) return
    this.#awaitBody()
    this.#body?.resume()
  }

  #awaitBody(): void {
    this.#limitStep(this.#context.limits.progressTimeoutMs, () => new ExchangeStall('the body does not go on'))
  }

  #failedToSend(request: ClientRequest, error: Error): void {
    const isUnanswered = !this.#isSettled && this.#response === undefined
    const isRefused = isParserFault(error) && !this.#isLenient
    // A kept connection may be closed by its server just as it is used again: that is no failure of the origin's.
    const isStale = request.reusedSocket && systemErrorCode(error) === 'ECONNRESET'
    if (!isUnanswered || (!isRefused && !isStale)) {
      this.#fail(error)
      return
    }
    if (isRefused) {
      this.#isLenient = true
      this.#context.onLenient()
    }
    this.#endStep()
    this.#request = this.#send()
  }

  /** Gives the step that begins now its time, in place of the one before it. */
  #limitStep(timeoutMs: number, error: () => Error): void {
    this.#endStep()
    if (this.#isSettled) return
    this.#step = setTimeout(() => {
      // Our own thread may have been late, with what the origin sent unread.
      this.#endSecondLook = secondLook(() => this.#fail(error()))
    }, timeoutMs)
  }

  #endStep(): void {
    clearTimeout(this.#step)
    this.#endSecondLook?.()
  }

  readonly #onAbort = (): void => this.#fail(this.#exchange.signal.reason)

  #succeed(): void {
    if (this.#isSettled) return
    this.#settle()
    this.#settled.resolve()
  }

  #fail(reason: unknown): void {
    if (this.#isSettled) return
    this.#settle()
    this.#settled.reject(reason)
    this.#request.destroy()
  }

  #settle(): void {
    this.#isSettled = true
    this.#brake?.release()
    this.#exchange.signal.removeEventListener('abort', this.#onAbort)
    clearTimeout(this.#deadline)
    this.#endStep()
  }
}

/** Headers that came once as they are, others as a list of all their values. */
function headersOf(response: IncomingMessage): ResponseHead['headers'] {
  const headers: Record<string, string | string[]> = {}
  for (const [name, all = []] of Object.entries(response.headersDistinct)) {
    // The lenient parser takes control characters, with which no header can be handed on.
    const values = all.filter((value) => HEADER_VALUE.test(value))
    if (values.length > 0) headers[name] = values.length === 1 ? (values[0] as string) : values
  }
  return headers
}

/** Whether it was Node's HTTP parser, llhttp, that refused. */
function isParserFault(error: unknown): boolean {
  return error instanceof Error && PARSER_FAULT.test(String((error as NodeJS.ErrnoException).code))
}
