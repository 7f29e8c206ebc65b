import { type Descriptor, type Digest, formatDigest } from '@shoal/core'
import { repositories } from '../storage/catalog.ts'
import type { StorageDriver } from '../storage/driver.ts'
import type { ManifestStore } from '../storage/manifests.ts'
import type { Listings } from './listings.ts'
import { type FactsShelf, factsIn } from './manifest-facts.ts'

interface StoredDependencies {
  readonly driver: StorageDriver
  readonly manifests: ManifestStore
  readonly facts: FactsShelf
}

/** An object store takes as long for one manifest as for many at once; each may have 4 MiB. */
const LOOKED_AT_TOGETHER = 16

/** Lists as the storage has them: it is walked for each. */
export class StoredListings implements Listings {
  readonly #dependencies: StoredDependencies

  constructor(dependencies: StoredDependencies) {
    this.#dependencies = dependencies
  }

  async repositories(limit: number, after?: string): Promise<string[]> {
    const found: string[] = []
    if (limit === 0) return found
    for await (const name of repositories(this.#dependencies.driver, after)) {
      found.push(name)
      if (found.length === limit) break
    }
    return found
  }

  async tags(repository: string, limit: number, after = ''): Promise<string[] | undefined> {
    const { manifests } = this.#dependencies
    if (!(await manifests.knows(repository))) return undefined
    return limit === 0 ? [] : manifests.tags(repository, limit, after)
  }

  async *referrers(repository: string, subject: Digest, after = ''): AsyncGenerator<Descriptor> {
    const { manifests } = this.#dependencies
    const wanted = formatDigest(subject)
    const revisions = (await manifests.revisions(repository)).filter((digest) => formatDigest(digest) > after)
    for (let i = 0; i < revisions.length; i += LOOKED_AT_TOGETHER) {
      const some = revisions.slice(i, i + LOOKED_AT_TOGETHER)
      const referring = await Promise.all(some.map((revision) => this.#referring(repository, revision, wanted)))
      yield* referring.filter((descriptor) => descriptor !== undefined)
    }
  }

  /** What a manifest is called if it is there and its subject is `wanted`. */
  async #referring(repository: string, revision: Digest, wanted: string): Promise<Descriptor | undefined> {
    const { references, descriptor } = (await factsIn(this.#dependencies, repository, revision)) ?? {}
    if (references?.subject !== wanted || descriptor === undefined) return undefined
    return (await this.#dependencies.manifests.has(repository, revision)) ? descriptor : undefined
  }
}
