/** It is looked so often whether the scheduler stood still. */
const LOOK_MS = 500
/** Nodes wait so long for the answer to a ping; then they take their blobs to another scheduler. */
const GIVEN_UP_MS = 2000

/**
 * For how long the scheduler has been there for the nodes: since its start, or since they gave it up because it stood
 * still (stopped, starved, its machine suspended), or since the last of them went. What it knew of them is gone then.
 */
export class Presence {
  readonly #now: () => number
  #sinceMs: number
  #seenMs: number
  readonly #timer: NodeJS.Timeout

  /** @param now milliseconds of a clock that does not step back */
  constructor(now: () => number) {
    this.#now = now
    this.#sinceMs = now()
    this.#seenMs = this.#sinceMs
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
    this.#timer.unref()
  }

  /** Milliseconds. */
  get ms(): number {
    this.#look()
    return this.#now() - this.#sinceMs
  }

  /** The last node went. */
  deserted(): void {
    this.#sinceMs = this.#now()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const nowMs = this.#now()
    if (nowMs - this.#seenMs >= GIVEN_UP_MS) this.#sinceMs = nowMs
    this.#seenMs = nowMs
  }
}
