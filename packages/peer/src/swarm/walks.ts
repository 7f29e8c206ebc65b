/** Walks that are remembered. */
const MAX_WALKS = 256
/** For how long who answered a walk is taken to be alive. */
const FRESH_MS = 5000

interface Walk {
  readonly beganMs: number
  readonly answered: Set<string>
}

/** Who answered when the DHT was walked towards a digest, so that it need not be walked again just to know that. */
export class Walks {
  readonly #byDigest = new Map<string, Walk>()

  /** Begins a walk; who answers is to be added to the returned set. */
  begin(digest: string, nowMs: number): Set<string> {
    const answered = new Set<string>()
    this.#byDigest.delete(digest)
    this.#byDigest.set(digest, { beganMs: nowMs, answered })
    const [oldest] = this.#byDigest.keys()
    if (this.#byDigest.size > MAX_WALKS && oldest !== undefined) this.#byDigest.delete(oldest)
    return answered
  }

  /** Ids of the nodes that answered a short while ago; undefined when there was no walk. */
  recent(digest: string, nowMs: number): ReadonlySet<string> | undefined {
    const walk = this.#byDigest.get(digest)
    return walk === undefined || nowMs - walk.beganMs > FRESH_MS ? undefined : walk.answered
  }
}
