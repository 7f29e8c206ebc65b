import { type ClientOptions, credentials } from '@grpc/grpc-js'
import { errorChain, type Logger, pause, type Startable } from '@shoal/core'
import { type Hello, SchedulerServiceClient } from '@shoal/proto'
import type { CommandListener, OriginShare } from './events.ts'
import { SchedulerStream } from './scheduler-stream.ts'

/** A connection whose other host vanished is closed within the sum of the two; silence-watch.ts is faster. */
const KEEPALIVE_MS = 10_000
const KEEPALIVE_TIMEOUT_MS = 20_000
/** From the dial to the scheduler's answer. */
const WELCOME_TIMEOUT_MS = 5000
const RETRY_MIN_MS = 250
/** At most half as long again passes between two dials: see SETTLE_MS in schedulers.ts. */
const RETRY_MAX_MS = 3000

const CHANNEL_OPTIONS: ClientOptions = {
  'grpc.keepalive_time_ms': KEEPALIVE_MS,
  'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  // Each dial has a connection of its own: the pauses between them are ours, not gRPC's.
  'grpc.use_local_subchannel_pool': 1,
  // Statistics that nobody can ask for, kept with each message.
  'grpc.enable_channelz': 0,
  // Proxies are for what is outside; gRPC would take the scheduler for that (https_proxy, grpc_proxy).
  'grpc.enable_http_proxy': 0,
}

/** What happens on the streams to one scheduler. */
export interface LinkListener extends CommandListener {
  /** There is a stream, and the scheduler has answered. */
  connected(): void
  /** The stream is gone; another is being dialled. */
  disconnected(): void
  originShare(share: OriginShare): void
}

/** What a link asks of its node. */
export interface LinkDependencies {
  /** Who this node is; asked at each dial, when the ports are known. */
  readonly hello: () => Hello
  readonly listener: LinkListener
  readonly log: Logger
  /** Milliseconds of a clock that does not step back. */
  readonly now: () => number
  /** 0 ≤ x < 1; spreads the dials of many nodes. */
  readonly random: () => number
}

/** The way to one scheduler: dials it for as long as it runs. */
export class SchedulerLink implements Startable {
  /** `host:port` of the scheduler's gRPC. */
  readonly address: string
  readonly #dependencies: LinkDependencies
  #stream: SchedulerStream | undefined
  #startedAtMs = 0
  #stopping: AbortController | undefined
  #dialling: Promise<void> = Promise.resolve()

  constructor(address: string, dependencies: LinkDependencies) {
    this.address = address
    this.#dependencies = dependencies
  }

  /** The stream, if the scheduler has answered and it is not over. */
  get stream(): SchedulerStream | undefined {
    return this.#stream?.isWelcome === true ? this.#stream : undefined
  }

  /** Since when the scheduler has been there for nodes, on this node's clock; as it said in its last answer. */
  get startedAtMs(): number {
    return this.#startedAtMs
  }

  async start(): Promise<void> {
    if (this.#stopping !== undefined) return
    this.#stopping = new AbortController()
    this.#dialling = this.#dialUntilStopped(this.#stopping.signal)
  }

  async stop(): Promise<void> {
    this.#stopping?.abort()
    this.#stream?.cancel()
    await this.#dialling
    this.#stopping = undefined
  }

  async #dialUntilStopped(signal: AbortSignal): Promise<void> {
    const { listener, log, random } = this.#dependencies
    let failures = 0
    while (!signal.aborted) {
      const { wasWelcome, error } = await this.#stay()
      if (wasWelcome) listener.disconnected()
      if (signal.aborted) return
      failures = wasWelcome ? 0 : failures + 1
      if (failures <= 1) {
        log.warn({ scheduler: this.address, reason: errorChain(error) }, 'no stream to the scheduler; dialling again')
      }
      await pause(Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** failures) * (0.5 + random()), signal)
    }
  }

  /** Dials once, and stays with the scheduler until the stream is over. */
  async #stay(): Promise<{ wasWelcome: boolean; error: unknown }> {
    const { hello, listener, log, now } = this.#dependencies
    const client = new SchedulerServiceClient(this.address, credentials.createInsecure(), CHANNEL_OPTIONS)
    const welcomed = (uptimeMs: number) => {
      clearTimeout(patience)
      this.#startedAtMs = now() - uptimeMs
      listener.connected()
    }
    const stream = new SchedulerStream(client.connect(), hello(), { ...listener, welcomed }, log)
    const patience = setTimeout(() => stream.cancel(), WELCOME_TIMEOUT_MS)
    this.#stream = stream
    const end = await stream.ended
    clearTimeout(patience)
    this.#stream = undefined
    client.close()
    return end
  }
}
