import type { Hash } from 'node:crypto'
import { createDigestHash, type Digest, type DigestAlgorithm } from '@shoal/core'

/** The digests of an upload's bytes, taken while they stream past. */
export class UploadHash {
  /** Bytes seen. */
  offset = 0
  readonly #hashes = new Map<DigestAlgorithm, Hash>()

  /** @param algorithm the digest that the client will name; the sha256, which content is stored under, is taken too */
  constructor(algorithm: DigestAlgorithm) {
    for (const each of new Set<DigestAlgorithm>(['sha256', algorithm])) this.#hashes.set(each, createDigestHash(each))
  }

  has(algorithm: DigestAlgorithm): boolean {
    return this.#hashes.has(algorithm)
  }

  update(bytes: Uint8Array): void {
    for (const hash of this.#hashes.values()) hash.update(bytes)
    this.offset += bytes.byteLength
  }

  /** The digest so far; `update` may go on. Throws when `algorithm` was not asked for. */
  digest(algorithm: DigestAlgorithm): Digest {
    const hash = this.#hashes.get(algorithm)
    if (hash === undefined) throw new Error(`${algorithm} was not taken`)
    return { algorithm, hex: hash.copy().digest('hex') }
  }
}
