import { join } from 'node:path'
import { BackgroundLoop, CoreError, errorChain, type Logger, pause, type Startable } from '@shoal/core'
import { Level } from 'level'

const WRITE_EVERY_MS = 30_000
/** Pulls that may wait to be written: some 20 MiB. */
const MAX_WAITING = 100_000
const SINCE = 'since'

/**
 * When manifests were last pulled, in `level`: `pull!<repository>!<digest>` → milliseconds since 1970. Written from
 * time to time: a crash loses the last half minute.
 */
export class PullTimes implements Startable {
  readonly #folder: string
  readonly #log: Logger
  readonly #now: () => number
  readonly #waiting = new Map<string, number>()
  readonly #loop = new BackgroundLoop((signal) => this.#writeAgainAndAgain(signal))
  #level: Level<string, string> | undefined
  #sinceMs = 0

  constructor(dataDir: string, { log, now = Date.now }: { readonly log: Logger; readonly now?: () => number }) {
    this.#folder = join(dataDir, 'pulls')
    this.#log = log
    this.#now = now
  }

  /** Throws CoreError `DATA_FOLDER_UNUSABLE`. */
  async start(): Promise<void> {
    if (this.#level !== undefined) return
    const level = new Level<string, string>(this.#folder)
    try {
      await level.open()
      const since = Number(await level.get(SINCE))
      this.#sinceMs = Number.isFinite(since) && since > 0 ? since : this.#now()
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
    await this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
    const level = this.#level
    if (level === undefined) return
    await this.#write()
    this.#level = undefined
    await level.close()
  }

  /** A client has pulled a manifest. */
  note(repository: string, digest: string): void {
    if (this.#waiting.size >= MAX_WAITING) return
    this.#waiting.set(keyOf(repository, digest), this.#now())
  }

  /**
   * When a manifest was last pulled, milliseconds since 1970; undefined when it was not. What was pushed before pulls
   * were counted counts as pulled when the counting began.
   */
  async pulledAtMs(repository: string, digest: string, pushedAtMs: number): Promise<number | undefined> {
    const key = keyOf(repository, digest)
    const stored = this.#waiting.get(key) ?? Number(await this.#level?.get(key))
    if (Number.isFinite(stored)) return stored
    return pushedAtMs < this.#sinceMs ? this.#sinceMs : undefined
  }

  /** A manifest is gone. */
  async forget(repository: string, digest: string): Promise<void> {
    const key = keyOf(repository, digest)
    this.#waiting.delete(key)
    await this.#level?.del(key)
  }

  async #writeAgainAndAgain(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(WRITE_EVERY_MS, signal)
      await this.#write()
    }
  }

  async #write(): Promise<void> {
    const written = [...this.#waiting]
    if (written.length === 0) return
    try {
      await this.#level?.batch(written.map(([key, ms]) => ({ type: 'put', key, value: String(ms) })))
      for (const [key, ms] of written) if (this.#waiting.get(key) === ms) this.#waiting.delete(key)
    } catch (error) {
      this.#log.warn({ error: errorChain(error) }, 'pull times could not be written; they will be tried again')
    }
  }
}

function keyOf(repository: string, digest: string): string {
  return `pull!${repository}!${digest}`
}
