interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Readers that wait for pieces. */
export class PieceWaiters {
  readonly #waiters = new Map<number, Set<Waiter>>()

  /** Resolves when `piece` is released; rejects when all fail or `signal` aborts. */
  wait(piece: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const waiters = this.#waiters.get(piece) ?? new Set()
      const onAbort = () => {
        waiters.delete(waiter)
        reject(signal.reason)
      }
      const settle = <T extends unknown[]>(then: (...args: T) => void) => {
        return (...args: T) => {
          signal.removeEventListener('abort', onAbort)
          then(...args)
        }
      }
      const waiter = { resolve: settle(resolve), reject: settle(reject) }
      signal.addEventListener('abort', onAbort, { once: true })
      waiters.add(waiter)
      this.#waiters.set(piece, waiters)
    })
  }

  release(piece: number): void {
    const waiters = this.#waiters.get(piece)
    this.#waiters.delete(piece)
    for (const waiter of waiters ?? []) waiter.resolve()
  }

  releaseAll(): void {
    for (const piece of [...this.#waiters.keys()]) this.release(piece)
  }

  fail(error: unknown): void {
    const all = [...this.#waiters.values()]
    this.#waiters.clear()
    for (const waiters of all) for (const waiter of waiters) waiter.reject(error)
  }
}
