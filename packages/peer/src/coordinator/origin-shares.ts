import type { OriginShare } from './events.ts'

/**
 * How fast the node may fetch from origins by what its schedulers say: each shares out what its own blobs may cost, so
 * their shares add up. While there is no scheduler, what the most generous one last said of that.
 */
export class OriginShares {
  readonly #shares = new Map<string, OriginShare>()
  readonly #connected = new Set<string>()
  #aloneBytesPerSecond = 0

  /** A scheduler is there; what it said on an earlier stream does not hold any more. */
  connected(scheduler: string): void {
    this.#connected.add(scheduler)
    this.#shares.delete(scheduler)
  }

  disconnected(scheduler: string): void {
    this.#connected.delete(scheduler)
    if (this.#connected.size > 0) {
      this.#shares.delete(scheduler)
      return
    }
    this.#aloneBytesPerSecond = Math.max(0, ...[...this.#shares.values()].map((share) => share.aloneBytesPerSecond))
  }

  told(scheduler: string, share: OriginShare): void {
    this.#shares.set(scheduler, share)
  }

  /** Bytes a second; 0: no scheduler has said anything. */
  get bytesPerSecond(): number {
    if (this.#connected.size === 0) return this.#aloneBytesPerSecond
    let sum = 0
    for (const scheduler of this.#connected) sum += this.#shares.get(scheduler)?.bytesPerSecond ?? 0
    return sum
  }
}
