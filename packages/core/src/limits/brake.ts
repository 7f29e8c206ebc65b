import type { SharedBucket, Sleeper } from './shared-bucket.ts'

/**
 * Keeps one receiving connection to a limit: bytes that came are paid for after the fact, and while the bucket is in
 * debt the connection does not read, so that TCP slows the sender.
 */
export class Brake {
  readonly #bucket: SharedBucket
  readonly #resume: () => void
  #sleeper: Sleeper | undefined

  /** @param resume called when the connection may read again */
  constructor(bucket: SharedBucket, resume: () => void) {
    this.#bucket = bucket
    this.#resume = resume
  }

  /** Whether the connection must not read. */
  get isOn(): boolean {
    return this.#sleeper !== undefined
  }

  /** Pays for bytes that came; false: stop reading until `resume` is called. */
  took(bytes: number): boolean {
    if (!this.#bucket.isLimited && this.#sleeper === undefined) return true
    this.#bucket.charge(bytes)
    if (this.#sleeper === undefined) this.#sleepIfInDebt()
    return this.#sleeper === undefined
  }

  /** The connection is over: nothing is called any more. */
  release(): void {
    this.#sleeper?.cancel()
    this.#sleeper = undefined
  }

  #sleepIfInDebt(): void {
    const debtNs = this.#bucket.debtNs()
    this.#sleeper = debtNs === 0 ? undefined : this.#bucket.sleep(debtNs, this.#awake)
  }

  #awake = (): void => {
    this.#sleepIfInDebt()
    if (this.#sleeper === undefined) this.#resume()
  }
}
