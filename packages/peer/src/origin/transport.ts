import { lookup as systemLookup } from 'node:dns'
import { getCACertificates } from 'node:tls'
import { Agent, type Dispatcher } from 'undici'
import { guardedLookup } from './address.ts'
import type { Endpoint } from './endpoint.ts'
import type { OriginLimits } from './options.ts'

/** Status and headers of an answer; header names in lower case. */
export interface ResponseHead {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** Who takes an answer. Called in order; whatever it throws ends the exchange, and `send` rejects with a ReceiverFault. */
export interface Receiver {
  onHead(head: ResponseHead): void
  /** @returns false for "enough": the exchange ends well, and its connection is closed */
  onData(chunk: Buffer): boolean
}

/** One HTTP request, without redirects. */
export interface Exchange {
  readonly url: URL
  readonly method: 'GET' | 'HEAD'
  readonly headers: Record<string, string>
  readonly signal: AbortSignal
  /** Deadline of the whole exchange; none for bodies whose length has no bound but that make progress. */
  readonly totalTimeoutMs?: number
}

/** Thrown when an exchange's `totalTimeoutMs` has passed. */
export class ExchangeTimeout extends Error {}

/** Carries, as its cause, what a receiver threw: whatever it is, it is no fault of the network. */
export class ReceiverFault extends Error {}

/** What a Transport may be given for tests. */
export interface TransportDependencies {
  readonly lookup?: typeof systemLookup
  /** Told of every body chunk's length. */
  readonly onBytes?: (count: number) => void
}

/** The same client name everywhere, so that an origin's operator can tell who asks. */
const USER_AGENT = 'shoal'
const KEEP_ALIVE_MS = 30_000

/**
 * Connections to origins and the hosts they point to: pooled per host, HTTP/1.1 (several ranges at once each get a
 * TCP window of their own), kept alive. Answers go to the receiver chunk by chunk, without streams or promises.
 */
export class Transport {
  readonly #limits: OriginLimits
  readonly #lookup: typeof systemLookup
  readonly #onBytes: (count: number) => void
  readonly #agents = new Map<string, Agent>()
  #isClosed = false

  constructor(limits: OriginLimits, dependencies: TransportDependencies = {}) {
    this.#limits = limits
    this.#lookup = dependencies.lookup ?? systemLookup
    this.#onBytes = dependencies.onBytes ?? (() => {})
  }

  /** Whether `close` was called. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Sends one request on behalf of `endpoint`; resolves when the body has ended or the receiver has enough. */
  send(endpoint: Endpoint, exchange: Exchange, receiver: Receiver): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new Error('the origin client is closed'))
      if (exchange.signal.aborted) return reject(exchange.signal.reason)
      const { url } = exchange
      const handler = new ExchangeHandler(exchange, receiver, this.#onBytes, resolve, reject)
      this.#agentFor(endpoint, url).dispatch(
        {
          origin: url.origin,
          path: url.pathname + url.search,
          method: exchange.method,
          headers: { 'user-agent': USER_AGENT, 'accept-encoding': 'identity', ...exchange.headers },
          headersTimeout: this.#limits.headersTimeoutMs,
          bodyTimeout: this.#limits.progressTimeoutMs,
        },
        handler,
      )
    })
  }

  /** Breaks off what is under way and closes all connections. */
  async close(): Promise<void> {
    this.#isClosed = true
    const agents = [...this.#agents.values()]
    this.#agents.clear()
    await Promise.all(agents.map((agent) => agent.destroy()))
  }

  /**
   * A listed origin's own host is taken at its word. Every other host is looked up with the guard against names that
   * lead into this machine, unless the origin itself is on this machine.
   */
  #agentFor(endpoint: Endpoint, url: URL): Agent {
    const isOwnHost = url.hostname === endpoint.base.hostname
    const isGuarded = !endpoint.isInternal && !(endpoint.isListed && isOwnHost)
    const isInsecure = endpoint.insecureTls && isOwnHost
    const key = `${isGuarded} ${isInsecure} ${endpoint.ca === undefined ? '' : endpoint.registry}`
    const known = this.#agents.get(key)
    if (known !== undefined) return known
    const agent = new Agent({
      connections: this.#limits.connections,
      keepAliveTimeout: KEEP_ALIVE_MS,
      pipelining: 1,
      allowH2: false,
      connect: {
        timeout: this.#limits.connectTimeoutMs,
        lookup: isGuarded ? guardedLookup(this.#lookup) : this.#lookup,
        ...(isInsecure ? { rejectUnauthorized: false } : {}),
        ...(endpoint.ca === undefined ? {} : { ca: [...getCACertificates('default'), endpoint.ca] }),
      },
    })
    this.#agents.set(key, agent)
    return agent
  }
}

/** undici's side of one exchange; settles once, whatever comes after. */
class ExchangeHandler implements Dispatcher.DispatchHandler {
  readonly #signal: AbortSignal
  readonly #receiver: Receiver
  readonly #onBytes: (count: number) => void
  readonly #resolve: () => void
  readonly #reject: (reason: unknown) => void
  readonly #timer: NodeJS.Timeout | undefined
  #controller: Dispatcher.DispatchController | undefined
  #isSettled = false

  constructor(
    exchange: Exchange,
    receiver: Receiver,
    onBytes: (count: number) => void,
    resolve: () => void,
    reject: (reason: unknown) => void,
  ) {
    this.#signal = exchange.signal
    this.#receiver = receiver
    this.#onBytes = onBytes
    this.#resolve = resolve
    this.#reject = reject
    this.#signal.addEventListener('abort', this.#onAbort)
    if (exchange.totalTimeoutMs !== undefined) {
      this.#timer = setTimeout(() => this.#fail(new ExchangeTimeout('deadline passed')), exchange.totalTimeoutMs)
    }
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isSettled) controller.abort(new Error('given up'))
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: ResponseHead['headers']): void {
    if (this.#isSettled || status < 200) return
    try {
      this.#receiver.onHead({ status, headers })
    } catch (error) {
      this.#fail(new ReceiverFault('the receiver failed', { cause: error }))
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isSettled) return
    this.#onBytes(chunk.length)
    try {
      if (this.#receiver.onData(chunk)) return
    } catch (error) {
      this.#fail(new ReceiverFault('the receiver failed', { cause: error }))
      return
    }
    this.#settle()
    this.#resolve()
    controller.abort(new Error('enough'))
  }

  onResponseEnd(): void {
    if (this.#isSettled) return
    this.#settle()
    this.#resolve()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#isSettled) return
    this.#settle()
    this.#reject(error)
  }

  readonly #onAbort = (): void => this.#fail(this.#signal.reason)

  #fail(reason: unknown): void {
    if (this.#isSettled) return
    this.#settle()
    this.#reject(reason)
    this.#controller?.abort(new Error('given up', { cause: reason }))
  }

  #settle(): void {
    this.#isSettled = true
    this.#signal.removeEventListener('abort', this.#onAbort)
    clearTimeout(this.#timer)
  }
}
