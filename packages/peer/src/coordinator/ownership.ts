import { schedulerOf } from './rendezvous.ts'

/** A scheduler whose stream is up. */
export interface LiveScheduler {
  readonly address: string
  /** Since when it has been there for nodes, in milliseconds of this node's clock. */
  readonly startedAtMs: number
}

/** Schedulers that started within this time of each other started together: none knows more than the others. */
const TOGETHER_MS = 2000

/**
 * Which of the live schedulers each blob belongs to. A scheduler that has just started, while an older one is there,
 * is the heir of its blobs before it is their owner: it is told what nodes hold, and decides nothing before they all
 * had the time to come and tell it. Otherwise it would have fetched from the origin what is in the cluster already.
 */
export class Ownership {
  /** Addresses of all live schedulers. */
  readonly live: readonly string[]
  /** When an heir becomes an owner if nothing else happens; undefined: never. */
  readonly changesAtMs: number | undefined
  readonly #settled: readonly string[]

  /** @param settleMs for so long after its start a scheduler is heir only, unless it is among the oldest */
  constructor(live: readonly LiveScheduler[], nowMs: number, settleMs: number) {
    const oldestMs = Math.min(...live.map(({ startedAtMs }) => startedAtMs))
    const settlesAtMs = ({ startedAtMs }: LiveScheduler) =>
      startedAtMs - oldestMs > TOGETHER_MS ? startedAtMs + settleMs : Number.NEGATIVE_INFINITY
    const heirs = live.filter((scheduler) => settlesAtMs(scheduler) > nowMs)
    this.live = live.map(({ address }) => address)
    this.#settled = live.filter((scheduler) => !heirs.includes(scheduler)).map(({ address }) => address)
    this.changesAtMs = heirs.length === 0 ? undefined : Math.min(...heirs.map(settlesAtMs))
  }

  /** The scheduler that decides on the blob; undefined: none is there. */
  ownerOf(digest: string): string | undefined {
    return schedulerOf(digest, this.#settled)
  }

  /** The scheduler that will decide on the blob if nothing else happens: most often its owner. */
  heirOf(digest: string): string | undefined {
    return schedulerOf(digest, this.live)
  }
}
