import type { Digest } from '@shoal/core'

/**
 * A set of digests in about half of the memory that their texts take. It keeps the first 128 bits of each: two that
 * share these are taken for one.
 */
export class DigestSet {
  readonly #keys = new Set<string>()

  add(digest: Digest): void {
    this.#keys.add(keyOf(digest))
  }

  has(digest: Digest): boolean {
    return this.#keys.has(keyOf(digest))
  }
}

function keyOf({ hex }: Digest): string {
  return Buffer.from(hex.slice(0, 32), 'hex').toString('latin1')
}
