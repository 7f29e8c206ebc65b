import type { Logger, Startable } from '@shoal/core'

/** Where records outlive the process. */
export interface RecordTable {
  put(key: string, value: Uint8Array): Promise<void>
  remove(key: string): Promise<void>
  entries(prefix: string): AsyncIterable<[key: string, value: Uint8Array]>
}

/** What records are, and how many. */
interface RecentRecordsOptions<T> {
  /** What their keys begin with in the index. */
  readonly prefix: string
  /** The records set longest ago go when there are more. */
  readonly most: number
  /** The value that a JSON text held; undefined when it is not one, as after a crash. */
  readonly decode: (value: unknown) => T | undefined
}

/**
 * Small facts by key: in memory, and in the index, so that a restart finds them again. Reads cost nothing; a record that
 * cannot be written down, because the disk is full, is known to this process all the same.
 */
export class RecentRecords<T> implements Startable {
  readonly #options: RecentRecordsOptions<T>
  readonly #table: RecordTable
  readonly #log: Logger
  readonly #now: () => number
  /** Those set longest ago first. */
  readonly #records = new Map<string, T>()
  #writing: Promise<void> = Promise.resolve()

  /** @param dependencies.now milliseconds since 1970 */
  constructor(options: RecentRecordsOptions<T>, dependencies: { table: RecordTable; log: Logger; now?: () => number }) {
    this.#options = options
    this.#table = dependencies.table
    this.#log = dependencies.log
    this.#now = dependencies.now ?? Date.now
  }

  /** Reads what an earlier process wrote down; what it cannot read is forgotten. */
  async start(): Promise<void> {
    const { prefix, most, decode } = this.#options
    const found: { readonly key: string; readonly value: T; readonly setMs: number }[] = []
    for await (const [indexKey, bytes] of this.#table.entries(prefix)) {
      const key = indexKey.slice(prefix.length)
      const { setMs, value } = parse(bytes)
      const decoded = decode(value)
      if (decoded === undefined) this.#forget(key)
      else found.push({ key, value: decoded, setMs })
    }
    found.sort((a, b) => b.setMs - a.setMs)
    for (const { key } of found.slice(most)) this.#forget(key)
    for (const { key, value } of found.slice(0, most).reverse()) this.#records.set(key, value)
  }

  /** Waits until all that was set is written down. */
  async stop(): Promise<void> {
    await this.#writing
    this.#records.clear()
  }

  get(key: string): T | undefined {
    return this.#records.get(key)
  }

  /** @param key printable ASCII without `~` */
  set(key: string, value: T): void {
    this.#records.delete(key)
    this.#records.set(key, value)
    const text = JSON.stringify({ setMs: this.#now(), value })
    this.#write(() => this.#table.put(this.#options.prefix + key, new TextEncoder().encode(text)))
    const [oldest] = this.#records.keys()
    if (this.#records.size > this.#options.most && oldest !== undefined) this.delete(oldest)
  }

  delete(key: string): void {
    if (this.#records.delete(key)) this.#forget(key)
  }

  #forget(key: string): void {
    this.#write(() => this.#table.remove(this.#options.prefix + key))
  }

  /** One after the other, in the order of the changes. */
  #write(work: () => Promise<void>): void {
    this.#writing = this.#writing.then(work).catch((error: unknown) => {
      this.#log.warn({ prefix: this.#options.prefix, err: error }, 'a record cannot be written down')
    })
  }
}

function parse(bytes: Uint8Array): { setMs: number; value: unknown } {
  try {
    const { setMs, value } = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>
    return { setMs: typeof setMs === 'number' ? setMs : 0, value }
  } catch {
    return { setMs: 0, value: undefined }
  }
}
