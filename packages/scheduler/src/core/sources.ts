import type { LeaseFailure } from './commands.ts'

/** Where a blob can be fetched when no node holds it. */
export interface Origin {
  readonly registry: string
  readonly repository: string
}

/** Where a blob is to be had by the word of the nodes that want it from there. */
export interface Source {
  readonly origin: Origin
  /** Peers that wait for the blob and named this source. */
  readonly claimants: Set<number>
  /** Nodes that had the lease with this source in vain since the last success, and why. */
  readonly refusals: Map<number, LeaseFailure>
  /** Whether a seed had the lease with it since the last success. */
  isTriedBySeeds: boolean
}

/**
 * The sources of one swarm. What comes of one says nothing of the others: one node may name a repository that does not
 * have the blob, or no repository at all.
 */
export class Sources {
  readonly #byName = new Map<string, Source>()
  readonly #ofPeer: (Source | undefined)[] = []

  /** The peer waits for the blob, and would have it from there. */
  claim(peer: number, { registry, repository }: Origin): void {
    const name = `${registry}/${repository}`
    const before = this.#ofPeer[peer]
    let source = this.#byName.get(name)
    if (source === undefined) {
      source = { origin: { registry, repository }, claimants: new Set(), refusals: new Map(), isTriedBySeeds: false }
      this.#byName.set(name, source)
    }
    if (before === source) return
    this.disclaim(peer)
    source.claimants.add(peer)
    this.#ofPeer[peer] = source
  }

  /** The peer waits no more. A source that nobody names is forgotten. */
  disclaim(peer: number): void {
    const source = this.#ofPeer[peer]
    if (source === undefined) return
    this.#ofPeer[peer] = undefined
    source.claimants.delete(peer)
    if (source.claimants.size > 0) return
    this.#byName.delete(`${source.origin.registry}/${source.origin.repository}`)
  }

  /** The one that is to be tried first, as `byPromise` has it; undefined: there is none. */
  get first(): Source | undefined {
    if (this.#byName.size > 1) return this.byPromise()[0]
    for (const source of this.#byName.values()) return source
    return undefined
  }

  /** All; those first of which the least is known against them, and of these the ones that most peers name. */
  byPromise(): readonly Source[] {
    const sources = [...this.#byName.values()]
    if (sources.length < 2) return sources
    return sources.sort((a, b) => a.refusals.size - b.refusals.size || b.claimants.size - a.claimants.size)
  }

  /** A node with this index is gone. */
  forgetNode(node: number): void {
    for (const { refusals } of this.#byName.values()) refusals.delete(node)
  }

  /** What the nodes found so far does not count any more. */
  clearRefusals(): void {
    for (const source of this.#byName.values()) {
      source.refusals.clear()
      source.isTriedBySeeds = false
    }
  }
}
