import { join } from 'node:path'
import { CoreError, type Startable } from '@shoal/core'
import { Level } from 'level'
import type { DistributionEvent } from './envelope.ts'

/** An event that waits for its delivery, or is dead. */
export interface QueuedEvent {
  readonly event: DistributionEvent
  /** Milliseconds since 1970. */
  readonly queuedAtMs: number
  /** Why the last attempt failed; of dead events only. */
  readonly reason?: string
}

type Shelf = 'pending' | 'dead'

/** One change of the database. */
export type Change =
  | { readonly type: 'put'; readonly key: string; readonly value: string }
  | { readonly type: 'del'; readonly key: string }

interface Write {
  readonly changes: readonly Change[]
  readonly isForced: boolean
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Sorts after every id. */
const END = '~'
const MAX_GROUP = 256

/**
 * The queues of all endpoints in `level`: `pending!<endpoint>!<id>` and `dead!<endpoint>!<id>`; ids sort by age. Writes
 * happen one after the other in the order they were asked for, those that wait together in one: so a later event is
 * never seen before an earlier one, and many pushes share one sync.
 */
export class QueueDb implements Startable {
  readonly #folder: string
  readonly #waiting: Write[] = []
  #level: Level<string, string> | undefined
  #writing: Promise<void> | undefined
  #isLogTorn = false
  #lastId = 0

  constructor(dataDir: string) {
    this.#folder = join(dataDir, 'notifications')
  }

  /** Throws CoreError `DATA_FOLDER_UNUSABLE`. */
  async start(): Promise<void> {
    if (this.#level !== undefined) return
    const level = new Level<string, string>(this.#folder)
    try {
      await level.open()
    } catch (cause) {
      throw new CoreError(
        'DATA_FOLDER_UNUSABLE',
        `can not open the notification queues ${this.#folder}: another process uses them, the disk is full, or they are damaged; stop the other process, free space, or delete the folder, which loses the events in it`,
        { cause },
      )
    }
    this.#level = level
    this.#isLogTorn = false
    for await (const key of level.keys()) this.#lastId = Math.max(this.#lastId, Number(idOf(key)) || 0)
  }

  async stop(): Promise<void> {
    await this.#writing
    const level = this.#level
    this.#level = undefined
    await level?.close()
  }

  /** The change that puts an event last on a shelf. Order of calls is order of events. */
  putLast(shelf: Shelf, endpoint: string, event: QueuedEvent): Change {
    this.#lastId++
    const id = String(this.#lastId).padStart(16, '0')
    return { type: 'put', key: keyOf(shelf, endpoint, id), value: JSON.stringify(event) }
  }

  remove(shelf: Shelf, endpoint: string, id: string): Change {
    return { type: 'del', key: keyOf(shelf, endpoint, id) }
  }

  /** Makes changes, all or none. @param isForced whether they are on the disk when this resolves */
  write(changes: readonly Change[], isForced: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ changes, isForced, resolve, reject })
      this.#writing ??= this.#writeWaiting()
    })
  }

  /** One event; undefined when there is none, or what is stored is damaged. */
  async get(shelf: Shelf, endpoint: string, id: string): Promise<QueuedEvent | undefined> {
    const value = await this.#opened().get(keyOf(shelf, endpoint, id))
    return value === undefined ? undefined : decode(value)
  }

  /** The oldest events after the id `after`; one that is damaged has no `event`. */
  async list(
    shelf: Shelf,
    endpoint: string,
    after: string,
    limit: number,
  ): Promise<[string, QueuedEvent | undefined][]> {
    const range = { gt: keyOf(shelf, endpoint, after), lt: keyOf(shelf, endpoint, END), limit }
    const entries = await this.#opened().iterator(range).all()
    return entries.map(([key, value]) => [idOf(key), decode(value)])
  }

  async count(shelf: Shelf, endpoint: string): Promise<number> {
    let count = 0
    const range = { gt: keyOf(shelf, endpoint, ''), lt: keyOf(shelf, endpoint, END) }
    for await (const _ of this.#opened().keys(range)) count++
    return count
  }

  async #writeWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, MAX_GROUP)
      try {
        if (this.#isLogTorn) await this.#reopen()
        const changes = group.flatMap((each) => each.changes)
        await this.#opened().batch(changes, { sync: group.some((each) => each.isForced) })
        for (const { resolve } of group) resolve()
      } catch (error) {
        // LevelDB drops at its next start what it logs behind a torn record: nothing more before it was opened anew.
        this.#isLogTorn = true
        for (const { reject } of group) reject(error)
      }
    }
    this.#writing = undefined
  }

  async #reopen(): Promise<void> {
    const level = this.#opened()
    await level.close()
    await level.open()
    this.#isLogTorn = false
  }

  #opened(): Level<string, string> {
    if (this.#level === undefined) throw new Error('the notification queues are not open')
    return this.#level
  }
}

function keyOf(shelf: Shelf, endpoint: string, id: string): string {
  return `${shelf}!${endpoint}!${id}`
}

function idOf(key: string): string {
  return key.slice(key.lastIndexOf('!') + 1)
}

function decode(value: string): QueuedEvent | undefined {
  try {
    const { event, queuedAtMs, reason } = JSON.parse(value) as QueuedEvent
    if (typeof event !== 'object' || event === null || typeof queuedAtMs !== 'number') return undefined
    return { event, queuedAtMs, ...(typeof reason === 'string' ? { reason } : {}) }
  } catch {
    return undefined
  }
}
