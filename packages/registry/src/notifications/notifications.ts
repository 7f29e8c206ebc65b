import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { errorChain, Lifecycle, type Logger, type Startable } from '@shoal/core'
import type { RegistryEvent } from '../events.ts'
import { Endpoint } from './endpoint.ts'
import { distributionEvent } from './envelope.ts'
import type { NotificationMetrics } from './metrics.ts'
import type { EndpointOptions } from './options.ts'
import { QueueDb } from './queue-db.ts'

export interface NotificationsOptions {
  readonly dataDir: string
  readonly endpoints: Readonly<Record<string, EndpointOptions>>
}

interface NotificationsDependencies {
  /** The port that clients reach the registry at. */
  readonly port: () => number
  readonly metrics: NotificationMetrics
  readonly log: Logger
}

/** Takes events in and has them delivered to all endpoints. */
export class Notifications implements Startable {
  readonly endpoints: ReadonlyMap<string, Endpoint>
  readonly db: QueueDb
  readonly #dependencies: NotificationsDependencies
  readonly #lifecycle: Lifecycle
  readonly #instanceID = randomUUID()

  /** Throws CoreError `CONFIG_INVALID`. */
  constructor({ dataDir, endpoints }: NotificationsOptions, dependencies: NotificationsDependencies) {
    this.#dependencies = dependencies
    this.db = new QueueDb(dataDir)
    const { db } = this
    const { metrics, log } = dependencies
    const all = Object.entries(endpoints).map(([name, each]) => new Endpoint(name, each, { db, metrics, log }))
    this.endpoints = new Map(all.map((endpoint) => [endpoint.name, endpoint]))
    this.#lifecycle = new Lifecycle([db, ...all])
  }

  start(): Promise<void> {
    return this.#lifecycle.start()
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop()
  }

  /**
   * Queues an event for every endpoint that wants it. When this resolves a pull outlives the process, and what
   * changed the registry a power cut too. An event that can not be queued is lost, counted and logged: what it tells
   * of is done.
   */
  async take(event: RegistryEvent): Promise<void> {
    const wanting = [...this.endpoints.values()].filter((each) => each.wants(event.action, event.mediaType))
    if (wanting.length === 0) return
    const { port, log } = this.#dependencies
    const source = { addr: `${hostname()}:${port()}`, instanceID: this.#instanceID }
    const message = distributionEvent(event, source)
    const admitted = wanting.flatMap((endpoint) => {
      const change = endpoint.admit(message, event.atMs)
      return change === undefined ? [] : [{ endpoint, change }]
    })
    if (admitted.length === 0) return
    let isQueued = true
    try {
      const changes = admitted.map(({ change }) => change)
      await this.db.write(changes, event.action !== 'pull')
    } catch (error) {
      isQueued = false
      log.error({ event: message.id, error: errorChain(error) }, 'a notification could not be queued and is lost')
    }
    for (const { endpoint } of admitted) endpoint.settle(isQueued)
  }
}
