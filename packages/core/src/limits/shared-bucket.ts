import { charged, debtNs } from './bucket.ts'

const MS_NS = 1e6

/** Nanoseconds of a clock that all threads of the process read alike and that never steps back. */
export const monotonicNs = (): number => Number(process.hrtime.bigint())

/** One number in shared memory: a token bucket (bucket.ts) that several threads take from. */
export interface BucketCell {
  readonly cells: BigInt64Array<SharedArrayBuffer>
  readonly index: number
}

/**
 * A token bucket of all threads as one of them has it. What is taken counts for all; the limit itself is told to each
 * thread, so that where there is none, nothing shared is touched.
 */
export class SharedBucket {
  readonly #cell: BucketCell
  readonly #nowNs: () => number
  readonly #sleepers = new Set<Sleeper>()
  #bytesPerSecond = 0

  constructor(cell: BucketCell, nowNs: () => number = monotonicNs) {
    this.#cell = cell
    this.#nowNs = nowNs
  }

  get isLimited(): boolean {
    return this.#bytesPerSecond !== 0
  }

  /** 0: no limit. */
  get bytesPerSecond(): number {
    return this.#bytesPerSecond
  }

  /** Has the limit in this thread from now on, and wakes whoever sleeps; 0: none. */
  limitTo(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond
    for (const sleeper of [...this.#sleepers]) sleeper.wake()
  }

  /** Takes the bytes, which came already, whatever that makes of the debt. */
  charge(bytes: number): void {
    if (this.#bytesPerSecond === 0) return
    for (;;) {
      const before = this.#load()
      const after = charged(Number(before), this.#nowNs(), bytes, this.#bytesPerSecond)
      if (this.#exchange(before, BigInt(after))) return
    }
  }

  /**
   * Takes the bytes unless the bucket is in debt, or was until less than `restNs` ago. Returns 0 when they were taken,
   * else how long to wait before asking again, nanoseconds.
   */
  tryTake(bytes: number, restNs: number): number {
    if (this.#bytesPerSecond === 0) return 0
    for (;;) {
      const before = this.#load()
      const nowNs = this.#nowNs()
      const waitNs = debtNs(Number(before) + restNs, nowNs)
      if (waitNs > 0) return waitNs
      if (this.#exchange(before, BigInt(charged(Number(before), nowNs, bytes, this.#bytesPerSecond)))) return 0
    }
  }

  /** How long until the bucket is out of debt, nanoseconds; 0 when it is in none, or there is no limit. */
  debtNs(): number {
    return this.#bytesPerSecond === 0 ? 0 : debtNs(Number(this.#load()), this.#nowNs())
  }

  /** Forgives all debt, for all threads: it was made under a limit that is not in force any more. */
  forgive(): void {
    Atomics.store(this.#cell.cells, this.#cell.index, 0n)
  }

  /** Calls `wake` once: in `waitNs`, or as soon as the limit changes. */
  sleep(waitNs: number, wake: () => void): Sleeper {
    const sleeper = new Sleeper(this.#sleepers, wake)
    sleeper.timer = setTimeout(() => sleeper.wake(), Math.ceil(waitNs / MS_NS))
    return sleeper
  }

  #load(): bigint {
    return Atomics.load(this.#cell.cells, this.#cell.index)
  }

  #exchange(before: bigint, after: bigint): boolean {
    return Atomics.compareExchange(this.#cell.cells, this.#cell.index, before, after) === before
  }
}

/** Somebody who waits for a bucket. */
export class Sleeper {
  readonly #all: Set<Sleeper>
  readonly #wake: () => void
  timer: NodeJS.Timeout | undefined

  constructor(all: Set<Sleeper>, wake: () => void) {
    this.#all = all
    this.#wake = wake
    all.add(this)
  }

  /** Nothing when it woke before or was cancelled. */
  wake(): void {
    if (!this.#all.has(this)) return
    this.cancel()
    this.#wake()
  }

  cancel(): void {
    this.#all.delete(this)
    clearTimeout(this.timer)
  }
}
