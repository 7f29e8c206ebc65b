import { BackgroundLoop, errorChain, type Logger, pause, type Startable } from '@shoal/core'
import type { PullShelf } from './pull-shelf.ts'

const WRITE_EVERY_MS = 30_000
/** Pulls that may wait to be written: some 20 MiB. */
const MAX_WAITING = 100_000

/** When manifests were last pulled. Written from time to time: a crash loses the last half minute. */
export class PullTimes implements Startable {
  readonly #shelf: PullShelf
  readonly #log: Logger
  readonly #now: () => number
  readonly #waiting = new Map<string, number>()
  readonly #loop = new BackgroundLoop((signal) => this.#writeAgainAndAgain(signal))

  constructor(shelf: PullShelf, { log, now = Date.now }: { readonly log: Logger; readonly now?: () => number }) {
    this.#shelf = shelf
    this.#log = log
    this.#now = now
  }

  /** Throws CoreError `DATA_FOLDER_UNUSABLE`. */
  async start(): Promise<void> {
    await this.#shelf.start()
    await this.#loop.start()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
    await this.#write()
    await this.#shelf.stop()
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
    const pulledAtMs = this.#waiting.get(key) ?? (await this.#shelf.get(key))
    if (pulledAtMs !== undefined) return pulledAtMs
    const sinceMs = await this.#shelf.sinceMs()
    return pushedAtMs < sinceMs ? sinceMs : undefined
  }

  /** A manifest is gone. */
  async forget(repository: string, digest: string): Promise<void> {
    const key = keyOf(repository, digest)
    this.#waiting.delete(key)
    await this.#shelf.delete(key)
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
      await this.#shelf.put(written)
      for (const [key, ms] of written) if (this.#waiting.get(key) === ms) this.#waiting.delete(key)
    } catch (error) {
      this.#log.warn({ error: errorChain(error) }, 'pull times could not be written; they will be tried again')
    }
  }
}

function keyOf(repository: string, digest: string): string {
  return `pull!${repository}!${digest}`
}
