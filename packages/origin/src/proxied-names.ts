import type { lookup as systemLookup } from 'node:dns'
import { guardedLookup } from './address.ts'
import { OriginError } from './errors.ts'
import { LruMap } from './lru.ts'

const MAX_NAMES = 256
const TRUST_MS = 60_000
/** Networks that have a proxy often have no DNS for what is behind it. */
const PATIENCE_MS = 1_000

/**
 * Whether names that a proxy will look up lead into the private network, as far as we can know: what our own DNS says
 * counts, and where it says nothing in time the proxy decides. A name that says one thing here and another to the proxy
 * is the proxy's to refuse.
 */
export class ProxiedNames {
  readonly #lookup: ReturnType<typeof guardedLookup>
  /** Names that may be asked for, and until when. */
  readonly #known = new LruMap<number>(MAX_NAMES)

  constructor(lookup: typeof systemLookup | undefined) {
    this.#lookup = guardedLookup(lookup)
  }

  /** Throws OriginError `NOT_ALLOWED`. */
  async check(hostname: string): Promise<void> {
    if (performance.now() < (this.#known.get(hostname) ?? 0)) return
    const error = await this.#lookUp(hostname)
    if (error instanceof OriginError) throw error
    this.#known.set(hostname, performance.now() + TRUST_MS)
  }

  #lookUp(hostname: string): Promise<Error | null> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(null), PATIENCE_MS)
      this.#lookup(hostname, { all: true }, (error) => {
        clearTimeout(timer)
        resolve(error)
      })
    })
  }
}
