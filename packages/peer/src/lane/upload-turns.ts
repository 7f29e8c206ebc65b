import { charged, debtNs, monotonicNs, type SharedBucket } from '@shoal/core'
import { transfersUnder } from '../limits/options.ts'
import type { UploadSlots } from './upload-slots.ts'

/** Shared memory of what requesters had of the upload limit lately, to hand to worker threads. */
export type SharesMemory = SharedArrayBuffer

/**
 * Requesters are told apart by their number modulo this: two that fall together share one share, no more. Among 16
 * that happens once in 550 times. Of the memory only the pages that are used cost something.
 */
const SHARES = 2 ** 16
/** A send under a limit is cut so that about so many go in a second, and the others wait for none of them long. */
const SLICES_PER_SECOND = 16
/**
 * Who had more than its share lets the others go first for so long. Nothing is lost by it: the bucket saves up for
 * longer (BURST_NS) what nobody takes meanwhile.
 */
const YIELD_NS = 10e6
/** What a requester had too much is remembered for so long at most. */
const MEMORY_NS = 1e9
/** Who waits for so long sends a few bytes before its turn: a peer takes a parent that sends nothing for stalled. */
const SIGN_NS = 300e6
const SIGN_BYTES = 1024

export function createSharesMemory(): SharesMemory {
  return new SharedArrayBuffer(SHARES * BigInt64Array.BYTES_PER_ELEMENT)
}

/** Somebody who waits for its turn to send. */
export interface Turn {
  cancel(): void
}

/**
 * Deals the upload limit out, a slice of a send at a time, over all threads. Each requester has a bucket of its own
 * that fills at its share of the limit; who is in debt there goes after those who are not, however many connections
 * and requests it has, but may use what they leave.
 */
export class UploadTurns {
  readonly #bucket: SharedBucket
  readonly #slots: UploadSlots
  readonly #shares: BigInt64Array<SharedArrayBuffer>
  readonly #nowNs: () => number

  constructor(bucket: SharedBucket, slots: UploadSlots, shares: SharesMemory, nowNs: () => number = monotonicNs) {
    this.#bucket = bucket
    this.#slots = slots
    this.#shares = new BigInt64Array(shares)
    this.#nowNs = nowNs
  }

  /** Whether sends have to wait for turns. */
  get areNeeded(): boolean {
    return this.#bucket.isLimited
  }

  /** Most sends at once. */
  get mostSends(): number {
    return transfersUnder(this.#bucket.bytesPerSecond)
  }

  /** Most bytes to send in one turn, while turns are needed. */
  get sliceBytes(): number {
    return Math.floor(this.#bucket.bytesPerSecond / SLICES_PER_SECOND)
  }

  /**
   * Calls `go` once with how much the requester may send, which is paid for then: `bytes` when its turn has come, some
   * of them as a sign of life when that takes long. Returns the turn it waits for; undefined when it came at once.
   */
  wait(requester: number, bytes: number, go: (bytes: number) => void): Turn | undefined {
    const first = this.#tryTake(requester, bytes)
    if (first === 0) {
      go(bytes)
      return undefined
    }
    const signNs = this.#nowNs() + SIGN_NS
    const attempt = () => {
      const waitNs = this.#tryTake(requester, bytes)
      const leftNs = signNs - this.#nowNs()
      if (waitNs === 0) go(bytes)
      else if (leftNs > 0) sleeper = this.#bucket.sleep(Math.min(waitNs, leftNs), attempt)
      else go(this.#takeSign(bytes))
    }
    let sleeper = this.#bucket.sleep(Math.min(first, SIGN_NS), attempt)
    return { cancel: () => sleeper.cancel() }
  }

  #takeSign(bytes: number): number {
    const sign = Math.min(bytes, SIGN_BYTES)
    this.#bucket.charge(sign)
    return sign
  }

  #tryTake(requester: number, bytes: number): number {
    const index = requester % SHARES
    const nowNs = this.#nowNs()
    const before = Number(Atomics.load(this.#shares, index))
    const waitNs = this.#bucket.tryTake(bytes, debtNs(before, nowNs) > 0 ? YIELD_NS : 0)
    if (waitNs > 0 || !this.#bucket.isLimited) return waitNs
    const share = this.#bucket.bytesPerSecond / Math.max(1, this.#slots.countRequesters())
    const after = Math.min(charged(before, nowNs, bytes, share), nowNs + MEMORY_NS)
    // Two threads that send for one requester at once may lose one of the two slices: it had a little more, once.
    Atomics.store(this.#shares, index, BigInt(after))
    return 0
  }
}
