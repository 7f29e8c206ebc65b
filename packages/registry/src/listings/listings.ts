import type { Descriptor, Digest } from '@shoal/core'

/** Lists of what the registry holds. Entries come in order, all after `after`. */
export interface Listings {
  /** At most `limit` repositories that hold, or held, content; ordered part by part (`a`, `a/b`, `a-b`). */
  repositories(limit: number, after?: string): Promise<string[]>
  /** At most `limit` tags in ASCII order; undefined when there is no such repository. */
  tags(repository: string, limit: number, after?: string): Promise<string[] | undefined>
  /** Descriptors of the manifests whose subject is `subject`, ordered by digest. */
  referrers(repository: string, subject: Digest, after?: string): AsyncIterable<Descriptor>
}
