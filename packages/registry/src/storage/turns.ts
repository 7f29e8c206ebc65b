/** One at a time for each name: those who change a repository's manifests wait for each other. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Runs `work` when those who came before for the same name are done, however they ended. */
  async take<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name)
    const mine = before === undefined ? work() : before.then(work, work)
    this.#last.set(name, mine)
    try {
      return await mine
    } finally {
      if (this.#last.get(name) === mine) this.#last.delete(name)
    }
  }
}

/** What somebody has for itself until it lets go. */
export interface Hold {
  release(): Promise<void>
}

/** What one at a time may have, each by its name; nobody waits for it. */
export class Holds {
  readonly #held = new Set<string>()

  /** undefined when somebody else has it. */
  async tryTake(name: string): Promise<Hold | undefined> {
    if (this.#held.has(name)) return undefined
    this.#held.add(name)
    return { release: async () => void this.#held.delete(name) }
  }
}
