import { BackgroundLoop, errorChain, type Logger, pause, type Startable } from '@shoal/core'
import { RegistryError } from '../errors.ts'
import type { StorageDriver } from '../storage/driver.ts'
import type { Guard } from './guard.ts'
import type { HealthOptions } from './options.ts'

/** What is looked for; it need not be there. */
const PATH = 'docker/registry/v2/health'

/**
 * Looks at the storage from time to time. When that failed often enough in a row, clients are told at once that the
 * registry is not available, so that they, and load balancers, go elsewhere, in place of waiting for each request to fail.
 */
export class StorageHealth implements Startable {
  readonly #options: HealthOptions
  readonly #driver: StorageDriver
  readonly #log: Logger
  readonly #loop = new BackgroundLoop((signal) => this.#lookAgainAndAgain(signal))
  #failures = 0
  #failure = ''

  constructor(options: HealthOptions, { driver, log }: { readonly driver: StorageDriver; readonly log: Logger }) {
    this.#options = options
    this.#driver = driver
    this.#log = log
  }

  /** Why the storage counts as failed; undefined when it does not. */
  get failure(): string | undefined {
    return this.#failures < this.#options.threshold ? undefined : this.#failure
  }

  readonly guard: Guard = () => {
    if (this.failure === undefined) return
    throw new RegistryError('UNAVAILABLE', 'the storage of the registry does not answer: try again later', {
      headers: { 'retry-after': String(Math.ceil(this.#options.everySeconds)) },
    })
  }

  start(): Promise<void> {
    return this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  async #lookAgainAndAgain(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#look(signal)
      await pause(this.#options.everySeconds * 1000, signal)
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { threshold, timeoutSeconds } = this.#options
    try {
      // A store that hangs can not be interrupted: it is left to itself, and the look counts as failed.
      const stop = new AbortController()
      const late = pause(timeoutSeconds * 1000, AbortSignal.any([signal, stop.signal])).then(() => 'late' as const)
      const found = await Promise.race([this.#driver.stat(PATH), late]).finally(() => stop.abort())
      if (signal.aborted) return
      if (found === 'late') throw new Error(`no answer within ${timeoutSeconds} s`)
      if (this.failure !== undefined) this.#log.info('the storage answers again')
      this.#failures = 0
    } catch (error) {
      this.#failures++
      this.#failure = errorChain(error)
      const fields = { error: this.#failure, failures: this.#failures }
      if (this.#failures === threshold) this.#log.error(fields, 'the storage counts as failed: clients get 503')
      else this.#log.warn(fields, 'a look at the storage failed')
    }
  }
}
