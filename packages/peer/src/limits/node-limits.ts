import { Gate } from './gate.ts'
import { checkLimits, type Limits, LOWEST_LIMIT, NO_LIMITS, transfersUnder } from './options.ts'
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
  #inForce = NO_LIMITS
  /** Bytes a second from origins, as the schedulers say; 0: they say nothing. */
  #originShare = 0

  /** Throws CoreError `CONFIG_INVALID` for a limit that is too low. */
  constructor(limits: Limits = NO_LIMITS) {
    this.change(limits)
  }

  /** As they were given. */
  get current(): Limits {
    return this.#current
  }

  /** As they hold: from origins, what the schedulers leave this node may be less. */
  get inForce(): Limits {
    return this.#inForce
  }

  /** Whether a limit holds transfers into this node back just now: they are slow by our own will. */
  get isHoldingBack(): boolean {
    return this.own.download.debtNs() > 0 || this.own.origin.debtNs() > 0
  }

  /** Has these limits in force, in all threads. Throws CoreError `CONFIG_INVALID` for a limit that is too low. */
  change(limits: Limits): void {
    checkLimits(limits)
    this.#current = limits
    this.#enforce()
  }

  /** Fetches no more bytes a second from origins than this, whatever the node's own limit is; 0: as that says. */
  shareOrigin(bytesPerSecond: number): void {
    const share = bytesPerSecond === 0 ? 0 : Math.max(LOWEST_LIMIT, bytesPerSecond)
    if (share === this.#originShare) return
    this.#originShare = share
    this.#enforce()
  }

  /** Tells `listener` of every change from now on. */
  follow(listener: (limits: Limits) => void): void {
    this.#listeners.push(listener)
  }

  #enforce(): void {
    const { originBytesPerSecond: own } = this.#current
    const shares = [own, this.#originShare].filter((bytesPerSecond) => bytesPerSecond > 0)
    const limits = { ...this.#current, originBytesPerSecond: shares.length === 0 ? 0 : Math.min(...shares) }
    const before = this.#inForce
    this.#inForce = limits
    if (before.uploadBytesPerSecond !== limits.uploadBytesPerSecond) this.own.upload.forgive()
    if (before.downloadBytesPerSecond !== limits.downloadBytesPerSecond) this.own.download.forgive()
    if (before.originBytesPerSecond !== limits.originBytesPerSecond) this.own.origin.forgive()
    this.own.apply(limits)
    this.fetches.allow(transfersUnder(limits.downloadBytesPerSecond))
    this.originRuns.allow(transfersUnder(limits.originBytesPerSecond))
    for (const listener of this.#listeners) listener(limits)
  }
}
