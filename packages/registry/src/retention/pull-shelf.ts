import { join } from 'node:path'
import { CoreError, type Startable } from '@shoal/core'
import { Level } from 'level'

/** Where the times of pulls are kept. Times are milliseconds since 1970. */
export interface PullShelf extends Startable {
  /** When the first pull can have been put here. */
  sinceMs(): Promise<number>
  get(key: string): Promise<number | undefined>
  put(entries: readonly (readonly [key: string, ms: number])[]): Promise<void>
  delete(key: string): Promise<void>
}

const SINCE = 'since'

/** The times in `level`: `pull!<repository>!<digest>` → milliseconds since 1970. */
export class LevelPullShelf implements PullShelf {
  readonly #folder: string
  readonly #now: () => number
  #level: Level<string, string> | undefined
  #sinceMs = 0

  constructor(dataDir: string, now: () => number = Date.now) {
    this.#folder = join(dataDir, 'pulls')
    this.#now = now
  }

  /** Throws CoreError `DATA_FOLDER_UNUSABLE`. */
  async start(): Promise<void> {
    if (this.#level !== undefined) return
    const level = new Level<string, string>(this.#folder)
    try {
      await level.open()
      this.#sinceMs = timeOf(await level.get(SINCE)) ?? this.#now()
      await level.put(SINCE, String(this.#sinceMs))
    } catch (cause) {
      await level.close().catch(() => {})
      throw new CoreError(
        'DATA_FOLDER_UNUSABLE',
        `can not open the pull times ${this.#folder}: another process uses them, the disk is full, or they are damaged; stop the other process, free space, or delete the folder, after which all counts as pulled just now`,
        { cause },
      )
    }
    this.#level = level
  }

  async stop(): Promise<void> {
    const level = this.#level
    this.#level = undefined
    await level?.close()
  }

  async sinceMs(): Promise<number> {
    return this.#sinceMs
  }

  async get(key: string): Promise<number | undefined> {
    return timeOf(await this.#level?.get(key))
  }

  async put(entries: readonly (readonly [key: string, ms: number])[]): Promise<void> {
    await this.#level?.batch(entries.map(([key, ms]) => ({ type: 'put', key, value: String(ms) })))
  }

  async delete(key: string): Promise<void> {
    await this.#level?.del(key)
  }
}

/** undefined for what is not there, or is no time. */
export function timeOf(text: string | null | undefined): number | undefined {
  const ms = Number(text ?? undefined)
  return Number.isFinite(ms) && ms > 0 ? ms : undefined
}
