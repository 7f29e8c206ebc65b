/** What a manifest names, as far as garbage collection goes by it. All are digests, as text. */
export interface References {
  /** Manifests of an index. */
  readonly children: readonly string[]
  /** Config and layers; of an index its children too, as these may be blobs. */
  readonly blobs: readonly string[]
  readonly subject?: string | undefined
}

/**
 * Which manifests of a repository are live, and in which order the others can be removed.
 * Live is what is a root, a child of something live, or has something live as its subject.
 */
export class Liveness {
  readonly live = new Set<string>()
  readonly #references: ReadonlyMap<string, References>
  readonly #referrers = new Map<string, string[]>()

  /** @param references of all manifests of the repository, by digest */
  constructor(references: ReadonlyMap<string, References>) {
    this.#references = references
    for (const [digest, { subject }] of references) {
      if (subject === undefined) continue
      const others = this.#referrers.get(subject)
      if (others === undefined) this.#referrers.set(subject, [digest])
      else others.push(digest)
    }
  }

  /** Makes a manifest live, and with it all that follows from it. */
  keep(root: string): void {
    const open = [root]
    for (let digest = open.pop(); digest !== undefined; digest = open.pop()) {
      if (this.live.has(digest) || !this.#references.has(digest)) continue
      this.live.add(digest)
      open.push(...this.#childrenOf(digest), ...(this.#referrers.get(digest) ?? []))
    }
  }

  /**
   * The manifests that are not live; each comes before its children, so that a removal that is broken off leaves no index
   * without a child, and an index that is found to be in use keeps them. Those without a subject come first, where
   * children allow: what is found to be in use keeps its referrers too.
   */
  dead(): string[] {
    const order: string[] = []
    const seen = new Set(this.live)
    const isReferrer = ([, { subject }]: [string, References]) => subject !== undefined
    const all = [...this.#references]
    for (const [start] of [...all.filter(isReferrer), ...all.filter((each) => !isReferrer(each))]) {
      if (seen.has(start)) continue
      seen.add(start)
      // Depth first, without recursion: children are put down before their index, then all is turned round.
      const path = [{ digest: start, left: this.#childrenOf(start) }]
      for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
        const next = top.left.pop()
        if (next === undefined) {
          order.push(top.digest)
          path.pop()
        } else if (!seen.has(next) && this.#references.has(next)) {
          seen.add(next)
          path.push({ digest: next, left: this.#childrenOf(next) })
        }
      }
    }
    return order.reverse()
  }

  #childrenOf(digest: string): string[] {
    return [...(this.#references.get(digest)?.children ?? [])]
  }
}
