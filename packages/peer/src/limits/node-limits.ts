import { Gate } from './gate.ts'
import { checkLimits, type Limits, NO_LIMITS, transfersUnder } from './options.ts'
import { createLimitsMemory, type LimitsMemory, ThreadLimits } from './thread-limits.ts'

/** The limits of a node, on its main thread: what is in force, and who is to be told when that changes. */
export class NodeLimits {
  /** The buckets, for the worker threads. */
  readonly memory: LimitsMemory = createLimitsMemory()
  /** The limits as the main thread has them. */
  readonly own = new ThreadLimits(this.memory)
  /** Where fetches of pieces from other nodes pass. */
  readonly fetches = new Gate()
  /** Where fetches of blobs from origins pass. */
  readonly originRuns = new Gate()
  readonly #listeners: ((limits: Limits) => void)[] = []
  #current = NO_LIMITS

  /** Throws CoreError `CONFIG_INVALID` for a limit that is too low. */
  constructor(limits: Limits = NO_LIMITS) {
    this.change(limits)
  }

  get current(): Limits {
    return this.#current
  }

  /** Whether a limit holds transfers into this node back just now: they are slow by our own will. */
  get isHoldingBack(): boolean {
    return this.own.download.debtNs() > 0 || this.own.origin.debtNs() > 0
  }

  /** Has these limits in force, in all threads. Throws CoreError `CONFIG_INVALID` for a limit that is too low. */
  change(limits: Limits): void {
    checkLimits(limits)
    const before = this.#current
    this.#current = limits
    if (before.uploadBytesPerSecond !== limits.uploadBytesPerSecond) this.own.upload.forgive()
    if (before.downloadBytesPerSecond !== limits.downloadBytesPerSecond) this.own.download.forgive()
    if (before.originBytesPerSecond !== limits.originBytesPerSecond) this.own.origin.forgive()
    this.own.apply(limits)
    this.fetches.allow(transfersUnder(limits.downloadBytesPerSecond))
    this.originRuns.allow(transfersUnder(limits.originBytesPerSecond))
    for (const listener of this.#listeners) listener(limits)
  }

  /** Tells `listener` of every change from now on. */
  follow(listener: (limits: Limits) => void): void {
    this.#listeners.push(listener)
  }
}
