import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from '@grpc/grpc-js'
import { listenError, type Startable } from '@shoal/core'
import { SchedulerServiceService } from '@shoal/proto'
import type { Coordinator } from './coordinator.ts'
import type { Call } from './session.ts'

/**
 * A node whose host vanished is noticed within the sum of the two. It has time to answer: one that is short of CPU, by a
 * limit or by its neighbours, would lose what is on its way to it, and come back with more to do than before.
 */
const KEEPALIVE_MS = 10_000
const KEEPALIVE_TIMEOUT_MS = 20_000
/** A connection without a stream for so long is closed. */
const IDLE_CONNECTION_MS = 60_000
/** Streams that do not end by themselves are cut off after this time. */
const STOP_TIMEOUT_MS = 2_000

/** The gRPC server that nodes connect to. */
export class GrpcServer implements Startable {
  readonly #options: { readonly host: string; readonly port: number }
  readonly #coordinator: Coordinator
  readonly #server = new Server({
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    // Connections are bounded by the streams on them.
    'grpc.max_connection_idle_ms': IDLE_CONNECTION_MS,
    // Statistics that nobody can ask for, kept with each message.
    'grpc.enable_channelz': 0,
  })
  #port = 0

  constructor(options: { readonly host: string; readonly port: number }, coordinator: Coordinator) {
    this.#options = options
    // grpc-js writes plain text to standard error, between our JSON lines, about what we throw or log ourselves.
    setLogVerbosity(logVerbosity.NONE)
    this.#coordinator = coordinator
    const { connect } = SchedulerServiceService
    // What is sent is bytes already: most of a response is the same for many nodes.
    const service = { connect: { ...connect, responseSerialize: (response: Buffer) => response } }
    this.#server.addService(service, { connect: (call: Call) => coordinator.serve(call) })
  }

  /** The port it listens on; 0 when it does not. */
  get port(): number {
    return this.#port
  }

  async start(): Promise<void> {
    if (this.#port !== 0) return
    const { host, port } = this.#options
    const address = `${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`
    this.#port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound)
        else reject(listenError('the scheduler gRPC server', host, port, withSystemCode(error)))
      })
    })
  }

  async stop(): Promise<void> {
    if (this.#port === 0) return
    this.#port = 0
    this.#coordinator.stop()
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#server.forceShutdown()
        resolve()
      }, STOP_TIMEOUT_MS)
      this.#server.tryShutdown(() => {
        clearTimeout(timer)
        resolve()
      })
    })
    this.#server.forceShutdown()
  }
}

/** grpc-js keeps the system's error only in the message: `… errors: [listen EADDRINUSE: address already in use …]`. */
function withSystemCode(error: Error): Error {
  const code = /\b(E[A-Z]{3,})\b/.exec(error.message)?.[1]
  return code === undefined ? error : Object.assign(new Error(error.message, { cause: error }), { code })
}
