/** A registry of which a lease brought nothing, or too little, goes after all others for so long. */
const LAPSE_MS = 60_000
/** Registries that are remembered though no lease of theirs is carried out: those of the latest leases. */
const MOST_REMEMBERED = 1024

interface Registry {
  leases: number
  /** When its last lease began. */
  beganAt: number
  lapsedUntil: number
}

/** How the registries from which leases fetch have behaved lately. */
export class Registries {
  readonly #byName = new Map<string, Registry>()
  #now = 0

  /** A lease of the registry has begun. */
  began(name: string, now: number): void {
    this.#now = now
    const registry = this.#byName.get(name) ?? { leases: 0, beganAt: 0, lapsedUntil: Number.NEGATIVE_INFINITY }
    registry.leases++
    registry.beganAt = now
    this.#byName.delete(name)
    this.#byName.set(name, registry)
    if (this.#byName.size <= MOST_REMEMBERED) return
    for (const [other, { leases }] of this.#byName) {
      if (leases > 0) continue
      this.#byName.delete(other)
      return
    }
  }

  ended(name: string): void {
    const registry = this.#byName.get(name)
    if (registry !== undefined) registry.leases--
  }

  /** A lease of the registry brought nothing, or too little. */
  lapsed(name: string, now: number): void {
    this.#now = now
    const registry = this.#byName.get(name)
    if (registry !== undefined) registry.lapsedUntil = now + LAPSE_MS
  }

  /** A lease of the registry brought all. */
  succeeded(name: string): void {
    const registry = this.#byName.get(name)
    if (registry !== undefined) registry.lapsedUntil = Number.NEGATIVE_INFINITY
  }

  /** Orders registries: one that has not lapsed first, then the one with the fewest leases. */
  compare(a: string, b: string): number {
    if (a === b) return 0
    const [x, y] = [this.#byName.get(a), this.#byName.get(b)]
    return Number(this.#hasLapsed(x)) - Number(this.#hasLapsed(y)) || (x?.leases ?? 0) - (y?.leases ?? 0)
  }

  /** Orders registries: the one first that has had no lease for longer. */
  compareAge(a: string, b: string): number {
    if (a === b) return 0
    const never = Number.MIN_SAFE_INTEGER
    return (this.#byName.get(a)?.beganAt ?? never) - (this.#byName.get(b)?.beganAt ?? never)
  }

  #hasLapsed(registry: Registry | undefined): boolean {
    return registry !== undefined && registry.lapsedUntil > this.#now
  }
}
