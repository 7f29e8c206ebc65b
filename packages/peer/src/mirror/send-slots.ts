/** One answer that is being sent. */
export interface SendSlot {
  /** Bytes wait for the client from now on, until `written`. */
  writing(): void
  written(): void
  end(): void
}

interface Send extends SendSlot {
  /** Since when bytes wait for the client; undefined: it waits for us. */
  writingMs: number | undefined
  readonly cut: () => void
}

/** Who has taken nothing for so long gives way when there are too many. */
const STALLED_MS = 5000
const LOOK_MS = 250

/**
 * Bounds how many answers are sent at once, as each keeps up to a MiB in memory. When there are more, the next one waits
 * until another has ended; a client that reads nothing holds up nobody: it is cut off for who waits.
 */
export class SendSlots {
  readonly #most: number
  readonly #now: () => number
  readonly #sends = new Set<Send>()
  #waiting: (() => void)[] = []
  #timer: NodeJS.Timeout | undefined

  /** @param now milliseconds of a clock that does not step back */
  constructor(most: number, now: () => number) {
    this.#most = most
    this.#now = now
  }

  /**
   * Resolves when the answer may be sent. Rejects with the signal's reason when it aborts.
   * @param cut closes the client's connection
   */
  async begin(cut: () => void, signal: AbortSignal): Promise<SendSlot> {
    while (this.#sends.size >= this.#most && !this.#cutStalled()) await this.#turn(signal)
    signal.throwIfAborted()
    const send: Send = {
      writingMs: undefined,
      cut,
      writing: () => {
        send.writingMs = this.#now()
      },
      written: () => {
        send.writingMs = undefined
      },
      end: () => {
        if (this.#sends.delete(send)) this.#wake()
      },
    }
    this.#sends.add(send)
    return send
  }

  /** Cuts off who has taken nothing for longest, if that is long; returns whether there is room now. */
  #cutStalled(): boolean {
    let stalled: Send | undefined
    let sinceMs = this.#now() - STALLED_MS
    for (const send of this.#sends) {
      if (send.writingMs === undefined || send.writingMs > sinceMs) continue
      stalled = send
      sinceMs = send.writingMs
    }
    if (stalled === undefined) return false
    this.#sends.delete(stalled)
    stalled.cut()
    return true
  }

  #turn(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    this.#timer ??= setInterval(() => this.#wake(), LOOK_MS)
    return new Promise((resolve, reject) => {
      const go = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        this.#waiting = this.#waiting.filter((one) => one !== go)
        reject(signal.reason)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.push(go)
    })
  }

  /** Has all that wait look again, in their order. */
  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    if (waiting.length === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
    for (const go of waiting) go()
  }
}
