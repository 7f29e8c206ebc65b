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

interface Waiter {
  readonly cut: () => void
  readonly admit: (slot: SendSlot) => void
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
  /** In the order in which they came. */
  readonly #waiting: Waiter[] = []
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
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<SendSlot>()
    const waiter: Waiter = { cut, admit: resolve }
    const leave = () => {
      const at = this.#waiting.indexOf(waiter)
      if (at < 0) return
      this.#waiting.splice(at, 1)
      reject(signal.reason)
    }
    this.#waiting.push(waiter)
    this.#admit()
    signal.addEventListener('abort', leave, { once: true })
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', leave)
    }
  }

  /**
   * Gives slots to those that wait, in their order. While more wait than can be sent at once, whoever came last goes
   * first: of a flood that reads nothing, those before it would each hold a slot for as long as they may stall.
   */
  #admit(): void {
    while (this.#waiting.length > 0 && (this.#sends.size < this.#most || this.#cutStalled())) {
      const next = this.#waiting.length > this.#most ? this.#waiting.pop() : this.#waiting.shift()
      next?.admit(this.#opened(next.cut))
    }
    if (this.#waiting.length > 0) {
      this.#timer ??= setInterval(() => this.#admit(), LOOK_MS)
    } else {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #opened(cut: () => void): SendSlot {
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
        if (this.#sends.delete(send)) this.#admit()
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
}
