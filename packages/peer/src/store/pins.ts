/** Ends one use; a second call does nothing. */
export type Unpin = () => void

/** Which blobs are in use, by whoever and as often as it may be. */
export class Pins {
  readonly #counts = new Map<string, number>()

  pin(digest: string): Unpin {
    this.#counts.set(digest, (this.#counts.get(digest) ?? 0) + 1)
    let isPinned = true
    return () => {
      if (!isPinned) return
      isPinned = false
      const count = (this.#counts.get(digest) ?? 1) - 1
      if (count === 0) this.#counts.delete(digest)
      else this.#counts.set(digest, count)
    }
  }

  has(digest: string): boolean {
    return this.#counts.has(digest)
  }
}
