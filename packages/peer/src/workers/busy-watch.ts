import { pause } from '@shoal/core'

/** How often a thread that has work is looked at, and one that has little. */
const LOOK_MS = 250
const IDLE_LOOK_MS = 2000
/** Below this share of a core a thread has little to do. */
const IDLE_SHARE = 0.05

/** Looks at how much of a core a thread takes, until that is more than a share of it. */
export class BusyWatch {
  readonly #cpuMs: () => Promise<number | undefined>
  readonly #share: number
  readonly #busy: () => void
  #watching: AbortController | undefined
  /** Present while the thread had little to do when it was last looked at. */
  #resting: AbortController | undefined

  /**
   * @param share of a core, over 0, from which on the thread is busy
   * @param cpuMs milliseconds of CPU that the thread has taken so far; undefined while there is none
   * @param busy called once, unless the watch is stopped before
   */
  constructor(share: number, cpuMs: () => Promise<number | undefined>, busy: () => void) {
    this.#share = share
    this.#cpuMs = cpuMs
    this.#busy = busy
  }

  /** There is work: begins, or looks more often again. */
  start(): void {
    this.#resting?.abort()
    if (this.#watching !== undefined) return
    this.#watching = new AbortController()
    void this.#watch(this.#watching.signal)
  }

  stop(): void {
    this.#watching ??= new AbortController()
    this.#watching.abort()
  }

  async #watch(signal: AbortSignal): Promise<void> {
    for (let before = await this.#look(); !signal.aborted; ) {
      await pause(LOOK_MS, signal)
      if (signal.aborted) return
      const now = await this.#look()
      // Nothing can be said of a thread that was not there at both.
      const share = (now.cpuMs - before.cpuMs) / (now.atMs - before.atMs)
      before = now
      if (share >= this.#share && !signal.aborted) {
        this.#busy()
        return
      }
      if (share >= IDLE_SHARE) continue
      this.#resting = new AbortController()
      await pause(IDLE_LOOK_MS, AbortSignal.any([signal, this.#resting.signal]))
      this.#resting = undefined
      before = await this.#look()
    }
  }

  async #look(): Promise<{ cpuMs: number; atMs: number }> {
    const cpuMs = (await this.#cpuMs()) ?? Number.NaN
    return { cpuMs, atMs: performance.now() }
  }
}
