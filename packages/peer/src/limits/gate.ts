/** Lets so many in at once; the others wait in the order in which they came. */
export class Gate {
  readonly #waiting = new Set<() => void>()
  #most = Number.POSITIVE_INFINITY
  #inside = 0

  /** From now on `most` are let in at once, at least 1; who is inside stays. */
  allow(most: number): void {
    this.#most = most
    this.#letIn()
  }

  /** Runs `work` as soon as there is room, or as soon as the signal aborts: it is the work's to see that. */
  async pass<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (this.#inside < this.#most || signal.aborted) this.#inside++
    else await this.#wait(signal)
    try {
      return await work()
    } finally {
      this.#inside--
      this.#letIn()
    }
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const enter = () => {
        this.#waiting.delete(enter)
        signal.removeEventListener('abort', enter)
        this.#inside++
        resolve()
      }
      this.#waiting.add(enter)
      signal.addEventListener('abort', enter, { once: true })
    })
  }

  #letIn(): void {
    for (const enter of this.#waiting) {
      if (this.#inside >= this.#most) return
      enter()
    }
  }
}
