import { createHash, type Hash } from 'node:crypto'
import { CoreError } from './errors.ts'

/** Digest algorithms that OCI registers and we accept. */
export type DigestAlgorithm = 'sha256' | 'sha512'

/** An OCI digest in its two parts. */
export interface Digest {
  readonly algorithm: DigestAlgorithm
  /** Lower-case hex: 64 characters for sha256, 128 for sha512. */
  readonly hex: string
}

const HEX_LENGTH: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 }
const PATTERN = /^(sha256|sha512):([0-9a-f]+)$/

/** Whether `text` is a digest we accept (`<algorithm>:<lower-case hex>` of the right length). */
export function isDigest(text: string): boolean {
  return tryParseDigest(text) !== undefined
}

/** The digest in `text`, or undefined when it is not one. Source: OCI image-spec, descriptor.md, "Digests". */
export function tryParseDigest(text: string): Digest | undefined {
  if (text.length > 160) return undefined
  const match = PATTERN.exec(text)
  if (match === null) return undefined
  const algorithm = match[1] as DigestAlgorithm
  const hex = match[2] as string
  return hex.length === HEX_LENGTH[algorithm] ? { algorithm, hex } : undefined
}

/** The digest in `text`; throws CoreError `DIGEST_INVALID`. */
export function parseDigest(text: string): Digest {
  const digest = tryParseDigest(text)
  if (digest === undefined) {
    throw new CoreError(
      'DIGEST_INVALID',
      `"${text.slice(0, 160)}" is not a digest: write sha256: and 64, or sha512: and 128, lower-case hex characters`,
    )
  }
  return digest
}

/** `algorithm:hex`. */
export function formatDigest(digest: Digest): string {
  return `${digest.algorithm}:${digest.hex}`
}

/** A hash object for the digest's algorithm. */
export function createDigestHash(algorithm: DigestAlgorithm): Hash {
  return createHash(algorithm)
}

/** The digest of bytes in memory. */
export function digestOf(bytes: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

/** The digest of zero bytes, for each algorithm. */
export const EMPTY_DIGESTS: ReadonlySet<string> = new Set([digestOf(''), digestOf('', 'sha512')])
