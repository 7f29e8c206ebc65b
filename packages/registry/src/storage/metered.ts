import type { Histogram } from 'prom-client'
import type { Appender, StorageDriver, StoredFile, StoredStat } from './driver.ts'

/** Labels of `registry_storage_action_seconds`; actions have Distribution's names. */
type ActionSeconds = Pick<Histogram<'driver' | 'action'>, 'startTimer'>

/** Who takes part in each operation, such as a trace. */
export type ActionSpan = <T>(name: string, work: () => Promise<T>) => Promise<T>

/** Measures how long the operations of a storage driver take; of opened files only how long it takes to open them. */
export class MeteredDriver implements StorageDriver {
  readonly #driver: StorageDriver
  readonly #name: string
  readonly #seconds: ActionSeconds
  readonly #span: ActionSpan | undefined
  readonly presign?: (path: string, seconds: number) => Promise<string | undefined>

  /** @param name of the driver, for the label */
  constructor(driver: StorageDriver, name: string, { seconds, span }: MeteredDriverDependencies) {
    this.#driver = driver
    this.#name = name
    this.#seconds = seconds
    this.#span = span
    const { presign } = driver
    if (presign !== undefined) {
      this.presign = (path, expires) => this.#timed('URLFor', () => presign.call(driver, path, expires))
    }
  }

  stat(path: string): Promise<StoredStat | undefined> {
    return this.#timed('Stat', () => this.#driver.stat(path))
  }

  read(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
    return this.#timed('GetContent', () => this.#driver.read(path, maxBytes))
  }

  write(path: string, content: Uint8Array | string): Promise<void> {
    return this.#timed('PutContent', () => this.#driver.write(path, content))
  }

  open(path: string): Promise<StoredFile | undefined> {
    return this.#timed('Reader', () => this.#driver.open(path))
  }

  append(path: string): Promise<Appender> {
    return this.#timed('Writer', () => this.#driver.append(path))
  }

  move(from: string, to: string): Promise<void> {
    return this.#timed('Move', () => this.#driver.move(from, to))
  }

  list(path: string): Promise<string[]> {
    return this.#timed('List', () => this.#driver.list(path))
  }

  remove(path: string): Promise<void> {
    return this.#timed('Delete', () => this.#driver.remove(path))
  }

  async #timed<T>(action: string, work: () => Promise<T>): Promise<T> {
    const stop = this.#seconds.startTimer({ driver: this.#name, action })
    try {
      return await (this.#span === undefined ? work() : this.#span(`storage ${action}`, work))
    } finally {
      stop()
    }
  }
}

interface MeteredDriverDependencies {
  readonly seconds: ActionSeconds
  readonly span?: ActionSpan | undefined
}
