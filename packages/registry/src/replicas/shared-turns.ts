import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { RegistryError } from '../errors.ts'
import { type Hold, type Holds, type Turn, Turns } from '../storage/turns.ts'
import type { Redis } from './redis.ts'

/** What a replica that dies held is free after so long. */
const HOLD_MS = 15_000
const RENEW_MS = HOLD_MS / 3
/** What is done in a turn has begun, and is over, before the turn can be somebody else's. */
const MARGIN_MS = 5000
const [FIRST_WAIT_MS, MOST_WAIT_MS] = [2, 50]

/** Options of holds, for tests. */
interface SharedHoldsOptions {
  readonly holdMs?: number
}

/** What one replica at a time may have, each by its name. */
export class SharedHolds implements Pick<Holds, 'tryTake'> {
  readonly #redis: Pick<Redis, 'run'>
  readonly #holdMs: number

  constructor(redis: Pick<Redis, 'run'>, { holdMs = HOLD_MS }: SharedHoldsOptions = {}) {
    this.#redis = redis
    this.#holdMs = holdMs
  }

  /** undefined when somebody has it. Throws RegistryError `UNAVAILABLE`. */
  async tryTake(name: string): Promise<Hold | undefined> {
    const key = `hold:${name}`
    const token = randomUUID()
    const askedMs = performance.now()
    const expiration = { type: 'PX', value: this.#holdMs } as const
    const taken = await this.#redis.run((client) => client.set(key, token, { condition: 'NX', expiration }))
    if (taken === null) return undefined
    return new SharedHold(this.#redis, { key, token, holdMs: this.#holdMs, sinceMs: askedMs })
  }
}

interface Held {
  readonly key: string
  readonly token: string
  readonly holdMs: number
  /** When it was asked for, by this process's clock: it is held from then on, or later. */
  readonly sinceMs: number
}

class SharedHold implements Hold {
  readonly #redis: Pick<Redis, 'run'>
  readonly #held: Held
  readonly #abort = new AbortController()
  readonly #renewing: NodeJS.Timeout
  #renewedMs: number

  constructor(redis: Pick<Redis, 'run'>, held: Held) {
    this.#redis = redis
    this.#held = held
    this.#renewedMs = held.sinceMs
    this.#renewing = setInterval(() => void this.#renew(), (held.holdMs * RENEW_MS) / HOLD_MS)
    this.#renewing.unref()
  }

  get lost(): AbortSignal {
    return this.#abort.signal
  }

  get isMine(): boolean {
    const { holdMs } = this.#held
    const isFresh = performance.now() < this.#renewedMs + holdMs - (holdMs * MARGIN_MS) / HOLD_MS
    return isFresh && !this.#abort.signal.aborted
  }

  async release(): Promise<void> {
    clearInterval(this.#renewing)
    const { key, token } = this.#held
    // What can not be released is free after a while.
    await this.#redis.run((client) => client.releaseHold([key], [token])).catch(() => {})
  }

  async #renew(): Promise<void> {
    const { key, token, holdMs } = this.#held
    const askedMs = performance.now()
    try {
      const renewed = await this.#redis.run((client) => client.renewHold([key], [token, String(holdMs)]))
      if (renewed === 1) this.#renewedMs = askedMs
      else this.#lose()
    } catch {
      if (!this.isMine) this.#lose()
    }
  }

  #lose(): void {
    clearInterval(this.#renewing)
    this.#abort.abort(new Error('what was held may be held by another replica by now: Redis was away for too long'))
  }
}

/** One at a time for each name, over all replicas. */
export class SharedTurns implements Pick<Turns, 'take'> {
  readonly #holds: Pick<Holds, 'tryTake'>
  readonly #kind: string
  readonly #patienceMs: number
  /** Of those in this process one at a time asks the others. */
  readonly #own = new Turns()

  /**
   * @param kind of names
   * @param patienceMs how long somebody waits for its turn
   */
  constructor(holds: Pick<Holds, 'tryTake'>, kind: string, patienceMs = 2 * HOLD_MS) {
    this.#holds = holds
    this.#kind = kind
    this.#patienceMs = patienceMs
  }

  /** Throws RegistryError `UNAVAILABLE` when nobody can say whose turn it is, or it does not come. */
  take<T>(name: string, work: (turn: Turn) => Promise<T>): Promise<T> {
    return this.#own.take(name, async () => {
      const hold = await this.#wait(`${this.#kind}:${name}`)
      try {
        return await work(hold)
      } finally {
        await hold.release()
      }
    })
  }

  async #wait(name: string): Promise<Hold> {
    const endMs = performance.now() + this.#patienceMs
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, MOST_WAIT_MS)) {
      const hold = await this.#holds.tryTake(name)
      if (hold !== undefined) return hold
      if (performance.now() > endMs) {
        throw new RegistryError('UNAVAILABLE', 'another replica of the registry is at it for too long: try again later')
      }
      await sleep(waitMs * (0.5 + Math.random()))
    }
  }
}
