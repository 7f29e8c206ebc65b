/** Somebody's turn, or what somebody has for itself. */
export interface Turn {
  /** False when it may be somebody else's by now: what must not happen in theirs is then left undone. */
  readonly isMine: boolean
}

const FOR_SURE: Turn = { isMine: true }

/** One at a time for each name: those who change a repository's manifests wait for each other. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Runs `work` when those who came before for the same name are done, however they ended. */
  async take<T>(name: string, work: (turn: Turn) => Promise<T>): Promise<T> {
    const before = this.#last.get(name)
    const begin = () => work(FOR_SURE)
    const mine = before === undefined ? begin() : before.then(begin, begin)
    this.#last.set(name, mine)
    try {
      return await mine
    } finally {
      if (this.#last.get(name) === mine) this.#last.delete(name)
    }
  }
}

/** What somebody has for itself until it lets go. */
export interface Hold extends Turn {
  /** Aborts when it may be somebody else's. */
  readonly lost: AbortSignal
  release(): Promise<void>
}

/** What one at a time may have, each by its name; nobody waits for it. */
export class Holds {
  readonly #held = new Set<string>()

  /** undefined when somebody else has it. */
  async tryTake(name: string): Promise<Hold | undefined> {
    if (this.#held.has(name)) return undefined
    this.#held.add(name)
    const lost = new AbortController().signal
    return { ...FOR_SURE, lost, release: async () => void this.#held.delete(name) }
  }
}
