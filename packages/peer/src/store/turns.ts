/** Runs pieces of work one after the other, in the order they came. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()

  /** Runs `work` when all before it have ended. Work must not wait for a later turn. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => {})
    return turn
  }
}
