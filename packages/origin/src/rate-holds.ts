import { createHash } from 'node:crypto'

/** Registries and accounts that are remembered at once; two that fall on one place forget each other. */
const PLACES = 256
const BYTES_PER_PLACE = 16
/** A registry that asks for more is asked again after this. */
const MAX_HOLD_MS = 3_600_000

/** Memory for RateHolds, which threads may share: one registry's limit is then kept to by all of them. */
export function rateHoldMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(PLACES * BYTES_PER_PLACE)
}

/** Until when one registry is to be left alone, by one account's requests. Milliseconds since the epoch. */
export interface RateHold {
  /** 0: it may be asked. */
  until(): number
  /** Leaves it alone until then, unless it already is for longer. */
  set(untilMs: number): void
}

/**
 * Until when registries that limit our rate are to be left alone. Each registry and account has its own: registries
 * count by account, and by address where there is none; so nobody uses up what others are given.
 */
export class RateHolds {
  readonly #places: BigInt64Array
  readonly #now: () => number

  /** @param now milliseconds since the epoch, the same for all who share the memory */
  constructor(memory: SharedArrayBuffer, now: () => number) {
    this.#places = new BigInt64Array(memory)
    this.#now = now
  }

  /** @param account tells the credentials apart; see Credentials.hash */
  of(registry: string, account: string): RateHold {
    const key = createHash('sha256')
      .update(JSON.stringify([registry, account]))
      .digest()
      .readBigInt64LE()
    const at = Number(BigInt.asUintN(8, key)) * 2
    const until = () => (Atomics.load(this.#places, at) === key ? Number(Atomics.load(this.#places, at + 1)) : 0)
    return {
      until,
      set: (untilMs) => {
        const bounded = Math.min(untilMs, this.#now() + MAX_HOLD_MS)
        if (bounded <= until()) return
        // Who reads in between may take the one for the other: a wait more, or a request more.
        Atomics.store(this.#places, at, key)
        Atomics.store(this.#places, at + 1, BigInt(Math.ceil(bounded)))
      },
    }
  }
}
