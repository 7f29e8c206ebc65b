import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@redis/client'
import { BackgroundLoop, CoreError, errorChain, type Logger, pause, type Startable } from '@shoal/core'
import { RegistryError } from '../errors.ts'
import type { ReplicaMetrics } from './metrics.ts'
import type { RedisOptions } from './options.ts'
import { scripts } from './scripts.ts'

/** A request waits for no answer longer than this. */
const TIMEOUT_MS = 2000
const MOST_RETRY_MS = 2000
const LOOK_EVERY_MS = 5000

class SilentError extends Error {}

type Client = ReturnType<typeof connect>

interface RedisDependencies {
  readonly metrics: ReplicaMetrics
  readonly log: Logger
}

/** The connection to the Redis that replicas share. It comes back by itself. */
export class Redis implements Startable {
  readonly #client: Client
  readonly #dependencies: RedisDependencies
  readonly #loop = new BackgroundLoop((signal) => this.#watch(signal))
  #isLost = false

  /** Throws CoreError `CONFIG_UNREADABLE` for a file that can not be read. */
  static async create(options: RedisOptions, dependencies: RedisDependencies): Promise<Redis> {
    const password = options.passwordFile && (await contentOf('passwordFile', options.passwordFile)).trim()
    const ca = options.caFile && (await contentOf('caFile', options.caFile))
    return new Redis(connect(options, password, ca), dependencies)
  }

  private constructor(client: Client, dependencies: RedisDependencies) {
    this.#client = client
    this.#dependencies = dependencies
    client.on('error', (error: unknown) => this.#failed(error))
    client.on('ready', () => this.#ready())
  }

  /** Waits a moment for the connection; without one the registry starts too, and takes no changes until it is there. */
  async start(): Promise<void> {
    if (this.#client.isOpen) return
    await Promise.race([this.#connect(), sleep(TIMEOUT_MS, undefined, { ref: false })])
    await this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
    if (this.#client.isOpen) this.#client.destroy()
  }

  /** Whether it is reached. */
  get isReady(): boolean {
    return this.#client.isReady
  }

  /** Called with each connection. */
  onReady(listener: () => void): void {
    this.#client.on('ready', listener)
  }

  /**
   * Has something done by Redis.
   * @throws RegistryError `UNAVAILABLE` when it is not reached, or does not do it
   */
  async run<T>(work: (client: Client) => Promise<T>): Promise<T> {
    if (!this.isReady) throw away()
    // The client's own timeout ends when a command is sent.
    const timeout = Promise.withResolvers<never>()
    const timer = setTimeout(() => timeout.reject(new SilentError('Redis does not answer')), TIMEOUT_MS)
    try {
      return await Promise.race([work(this.#client), timeout.promise])
    } catch (error) {
      this.#dependencies.metrics.failures.inc()
      if (error instanceof SilentError) this.#reconnect(error)
      throw away(error)
    } finally {
      clearTimeout(timer)
    }
  }

  /** Rejects what waits, so that nobody waits for a Redis that hangs, or whose machine is gone. */
  #reconnect(error: Error): void {
    this.#failed(error)
    if (this.#client.isOpen) this.#client.destroy()
    void this.#connect()
  }

  async #connect(): Promise<void> {
    await this.#client.connect().catch((error) => this.#failed(error))
  }

  /** Finds out that it hangs, or that a connection that began is not answered. */
  async #watch(signal: AbortSignal): Promise<void> {
    let wasReady = true
    while (!signal.aborted) {
      await pause(LOOK_EVERY_MS, signal)
      if (signal.aborted) return
      const isReady = this.isReady
      if (isReady) await this.run((client) => client.ping()).catch(() => {})
      else if (!wasReady) this.#reconnect(new SilentError('Redis does not answer'))
      wasReady = isReady
    }
  }

  #ready(): void {
    const { metrics, log } = this.#dependencies
    metrics.connected.set(1)
    log.info('replicas are connected by Redis')
    this.#isLost = false
  }

  #failed(error: unknown): void {
    const { metrics, log } = this.#dependencies
    metrics.connected.set(0)
    // Once for each time, however often it is tried again.
    if (!this.#isLost) log.error({ error: errorChain(error) }, 'Redis is not reached: the registry takes no changes')
    this.#isLost = true
  }
}

function connect({ url, username, keyPrefix }: RedisOptions, password: string | undefined, ca: string | undefined) {
  const reconnectStrategy = (retries: number) => Math.min(50 * 2 ** Math.min(retries, 10), MOST_RETRY_MS)
  const socket = { connectTimeout: TIMEOUT_MS, reconnectStrategy }
  return createClient({
    url,
    keyPrefix,
    scripts,
    disableOfflineQueue: true,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    socket: ca === undefined ? socket : { ...socket, tls: true as const, ca },
  })
}

async function contentOf(name: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new CoreError('CONFIG_UNREADABLE', `replicas.redis.${name}: ${path} can not be read: ${errorChain(cause)}`)
  }
}

function away(cause?: unknown): RegistryError {
  return new RegistryError(
    'UNAVAILABLE',
    'the registry can not reach what its replicas share, and takes no changes until it can: try again later',
    { cause, headers: { 'retry-after': '1' } },
  )
}
