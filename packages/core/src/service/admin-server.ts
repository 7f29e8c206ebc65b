import type { FastifyInstance } from 'fastify'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { listen } from '../http-server.ts'
import type { Startable } from '../lifecycle.ts'
import { createEventLoopMetrics } from './event-loop-metrics.ts'
import { createHttpServer } from './http-server.ts'

/** What an admin server needs. */
export interface AdminServerOptions {
  /** Name for error messages, e.g. `scheduler admin`. */
  readonly name: string
  readonly host: string
  readonly port: number
}

/** What an admin server asks of its service. */
export interface AdminServerDependencies {
  readonly metrics: Registry
  /** Why the service can not serve at the moment; undefined when it can. */
  readonly notReady: () => string | undefined
  /** Adds the service's own routes. */
  readonly routes?: (server: FastifyInstance) => void
}

/** A registry of metrics with the process's own (CPU, memory, event loop) in it. */
export function createMetricsRegistry(): Registry {
  const registry = new Registry()
  // Its own look at the event loop can not be left out, but it can be made to look once in some weeks.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 2 ** 31 - 1 })
  createEventLoopMetrics(registry)
  return registry
}

/**
 * The admin HTTP server that every service has: `/healthz` (the process lives; its pid), `/readyz` (it can serve, else 503 and
 * why), `/metrics` (Prometheus text), and the service's own routes. Can be started once.
 */
export class AdminServer implements Startable {
  readonly #options: AdminServerOptions
  readonly #server: FastifyInstance
  #port = 0

  constructor(options: AdminServerOptions, dependencies: AdminServerDependencies) {
    this.#options = options
    this.#server = createHttpServer({ forceCloseConnections: true })
    this.#server.get('/healthz', async () => ({ status: 'ok', pid: process.pid }))
    this.#server.get('/readyz', async (_request, reply) => {
      const reason = dependencies.notReady()
      return reason === undefined ? { status: 'ready' } : reply.code(503).send({ status: 'not ready', reason })
    })
    this.#server.get('/metrics', async (_request, reply) => {
      reply.type(dependencies.metrics.contentType)
      return dependencies.metrics.metrics()
    })
    dependencies.routes?.(this.#server)
  }

  /** The port it listens on; 0 before it is started. */
  get port(): number {
    return this.#port
  }

  async start(): Promise<void> {
    if (this.#port !== 0) return
    this.#port = await listen(this.#server, `the ${this.#options.name} server`, this.#options.host, this.#options.port)
  }

  async stop(): Promise<void> {
    if (this.#port === 0) return
    this.#port = 0
    await this.#server.close()
  }
}
