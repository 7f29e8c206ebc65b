import { CoreError, Lifecycle, type Logger } from '@shoal/core'
import { AdminServer, createMetricsRegistry, type Service, type ServiceDefinition } from '@shoal/core/service'
import { adminRoutes } from './admin/routes.ts'
import { Coordinator, type CoordinatorOptions } from './coordination/coordinator.ts'
import { GrpcServer } from './coordination/grpc-server.ts'
import { LEAST_SHARE } from './coordination/origin-budget.ts'
import { createSchedulerMetrics, observe } from './metrics.ts'
import { type SchedulerOptions, schedulerOptions } from './options.ts'
import { observeTraffic } from './traffic/metrics.ts'

/** A scheduler: the gRPC server for nodes, and the admin server for people. */
export class Scheduler implements Service {
  readonly #options: SchedulerOptions
  readonly #grpc: GrpcServer
  readonly #admin: AdminServer
  readonly #lifecycle: Lifecycle

  constructor(options: SchedulerOptions, log: Logger) {
    this.#options = options
    const registry = createMetricsRegistry()
    const metrics = createSchedulerMetrics(registry)
    const coordinator = new Coordinator(coordinatorOptions(options), {
      metrics,
      log: log.child({ room: 'coordination' }),
    })
    observe(registry, coordinator)
    observeTraffic(registry, coordinator)
    this.#grpc = new GrpcServer(options.grpc, coordinator)
    this.#admin = new AdminServer(
      { name: 'scheduler admin', ...options.admin },
      {
        metrics: registry,
        notReady: () => (this.#grpc.port === 0 ? 'the gRPC server does not listen' : undefined),
        routes: (server) => adminRoutes(server, coordinator),
      },
    )
    this.#lifecycle = new Lifecycle([this.#admin, this.#grpc])
  }

  start(): Promise<void> {
    return this.#lifecycle.start()
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop()
  }

  addresses(): Readonly<Record<string, string>> {
    const { grpc, admin } = this.#options
    return {
      grpc: `${bracketed(grpc.host)}:${this.#grpc.port}`,
      admin: `http://${bracketed(admin.host)}:${this.#admin.port}`,
    }
  }
}

/** The scheduler as the command line runs it. */
export const schedulerService: ServiceDefinition<typeof schedulerOptions> = {
  name: 'scheduler',
  schema: schedulerOptions,
  create: (options, log) => new Scheduler(options, log),
}

/** Throws CoreError `CONFIG_INVALID` for a limit that is too low. */
function coordinatorOptions({ origin, ...options }: SchedulerOptions): CoordinatorOptions {
  const { maxFetches, bytesPerSecond, leastBytesPerSecond } = origin
  if (bytesPerSecond > 0 && bytesPerSecond < LEAST_SHARE) {
    const why = `nodes would take each other for broken; give at least ${LEAST_SHARE}, or 0 for no limit`
    throw new CoreError('CONFIG_INVALID', `origin.bytesPerSecond (${bytesPerSecond}) is too low: ${why}`)
  }
  return {
    ...options,
    originBytesPerSecond: bytesPerSecond,
    leastLeaseRate: leastBytesPerSecond,
    ...(maxFetches === 0 ? {} : { mostLeases: maxFetches }),
  }
}

function bracketed(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
}
